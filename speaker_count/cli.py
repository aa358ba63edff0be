"""The command `speaker-count`."""

import importlib
import os
import sys

from speaker_count.errors import user_error
from speaker_count.training import streams

VERBS = {
    "predict": "count the speakers in recordings over time: predict FILE... | DIR | -",
    "listen": "count the speakers at a microphone, live, and log counts per minute: listen [--log FILE.csv]",
    "occupancy": "make tables and a plot of logs by hour and weekday: occupancy LOG [LOG ...]",
    "web": "write a web page that counts in the browser, files and microphone: web OUT_DIR [--serve]",
    "train": "train one net, or with --multirun a sweep; any key of the config can be overridden",
    "evaluate": "evaluate a finished run or weights on another corpus or mix: evaluate RUN_DIR [overrides]",
    "stress": "score finished runs or weights under noise, in rooms and more: stress RUN [RUN ...] [overrides]",
    "weights": "list the packaged weights, or write those of a finished run, calibrated: weights RUN_DIR [OUT]",
    "export": "write a finished run's net, or weights, as one ONNX file: export RUN_DIR|NAME [OUT.onnx]",
    "prepare": "get, verify, index and decode a corpus: prepare data=librispeech",
    "clips": "write the clips that training streams as WAV files with metadata: clips data=librispeech out=DIR",
    "forecast": "estimate what train would do, for how long and with how much disk: forecast [overrides]",
    "report": "make tables, figures and a page from a run or a sweep: report DIR",
    "dashboard": "make the same comparison in Weights & Biases, or print it as JSON with --dry-run: dashboard DIR",
}
COMPLETION = ("-sc", "--shell-completion")  # as Hydra has them
# exit codes where nobody reads the output any more, and after Ctrl-C; as shells have them for SIGPIPE and SIGINT
UNREAD, INTERRUPTED = 128 + 13, 128 + 2


def main() -> None:
    """Hand over to the verb's own `main`, which reads the rest of the command line."""
    streams.open_closed()
    # torch's threads, which read it once: they yield a core that others need, which costs them little on an idle one
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: speaker-count VERB ...\n")
        for verb, does in VERBS.items():
            print(f"  {verb:10} {does}")
        print("\n`speaker-count VERB --help` shows a verb's arguments.")
        return
    verb = arguments[0]
    if verb == "--version":
        from speaker_count import __version__

        print(__version__)
        return
    is_completion = not set(COMPLETION).isdisjoint(arguments[:2])
    if verb not in VERBS and not is_completion:
        print(f"speaker-count: no verb {verb!r}; the verbs are {', '.join(VERBS)}", file=sys.stderr)
        sys.exit(2)
    try:
        os.getcwd()
    except FileNotFoundError:  # libraries would fail in ways of their own
        print("the working directory was deleted: go to another one with cd", file=sys.stderr)
        sys.exit(2)
    sys.argv = [f"speaker-count {verb}", *arguments[1:]]
    if verb in ("train", "forecast"):  # own nets in the working directory; last: its files hide no package
        sys.path.append("")
    if verb == "evaluate" and "trainer=ddp" in arguments:
        from speaker_count.training import processes

        processes.start_server()  # the server imports what other ranks need while this process imports too
    try:
        if is_completion:
            importlib.import_module("speaker_count.commands.completion").main(arguments, [*VERBS])
        else:
            importlib.import_module(f"speaker_count.commands.{verb}").main()
        sys.stdout.flush()
    except Exception as error:
        if isinstance(error, BrokenPipeError) and not streams.is_read():
            sys.exit(UNREAD)
        mistake = user_error(error, f"speaker-count {verb}")
        if mistake is None and not type(error).__module__.startswith("hydra."):
            raise
        print(mistake or error, file=sys.stderr)
        sys.exit(1 if mistake is None else 2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    finally:
        streams.let_go()
