"""`speaker-count web OUT_DIR`: write a web page that counts the speakers in recordings and at the microphone, all in
the browser.
"""

import argparse
import contextlib
import shlex
import sys
from pathlib import Path

from speaker_count.commands import counting
from speaker_count.errors import printable


def main() -> None:
    """Read the command line, write the page's folder, and serve it where that is asked for."""
    parser = argparse.ArgumentParser(
        usage="%(prog)s OUT_DIR [options]", description=" ".join((__doc__ or "").split(":", 1)[1].split())
    )
    parser.add_argument("folder", metavar="OUT_DIR", type=Path, help="a new folder, or an older page's")
    net = parser.add_argument_group("the net; by default the packaged `recommended`").add_mutually_exclusive_group()
    net.add_argument("--run", metavar="DIR", help=counting.RUN)
    parser.add_argument("--config-dir", metavar="DIR", help=counting.CONFIG_DIR)
    net.add_argument("--weights", metavar="FILE.onnx", help="what `speaker-count export` wrote")
    parser.add_argument("--serve", action="store_true", help="serve the page to this machine's browsers, until Ctrl-C")
    parser.add_argument("--port", type=int, default=8000, metavar="N", help="of --serve; 0: a free one (%(default)s)")
    arguments = parser.parse_args()
    # from here on what takes longer
    from speaker_count.inference import page, serving

    model = counting.of_run(arguments.run, arguments.config_dir) if arguments.run else arguments.weights
    if not arguments.serve:
        size = page.write(arguments.folder, model)
        command = f"{sys.argv[0]} {shlex.join(sys.argv[1:])} --serve"  # with the same net, which it writes again
        print(printable(f"{arguments.folder}: {size / 1e6:.1f} MB; any web server serves it, here `{command}`"))
        return
    with serving.server(arguments.folder, arguments.port) as server:  # a port in use is said before anything is written
        page.write(arguments.folder, model)
        print(f"http://{serving.ADDRESS}:{server.server_port}/ (Ctrl-C ends it)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
