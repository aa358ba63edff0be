"""The command `speaker-count`."""

import importlib
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence

from speaker_count.errors import UserError, user_error
from speaker_count.training import streams

VERBS = {
    "predict": "count the speakers in recordings over time: predict FILE... | DIR | -",
    "listen": "count the speakers at a microphone, live; log counts per minute: listen [--log FILE.csv]",
    "occupancy": "show counts by hour and weekday, from logs of listen: occupancy LOG [LOG ...]",
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
    arguments = sys.argv[1:] or ["--help"]
    verb = arguments[0]
    try:
        if verb in ("-h", "--help"):
            _help()
        elif verb == "--version":
            print(importlib.import_module("speaker_count").__version__)
        else:
            _run(verb, arguments)
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


def _help() -> None:
    print("usage: speaker-count VERB ...\n")
    width = max(40, shutil.get_terminal_size().columns - 1)
    for verb, does in VERBS.items():
        print(textwrap.fill(f"  {verb:10} {does}", width, subsequent_indent=" " * 13, break_on_hyphens=False))
    print("\n`speaker-count VERB --help` shows a verb's arguments.")


def _run(verb: str, arguments: Sequence[str]) -> None:
    is_completion = not set(COMPLETION).isdisjoint(arguments[:2])
    if verb not in VERBS and not is_completion:
        raise UserError(f"speaker-count: no verb {verb!r}; the verbs are {', '.join(VERBS)}")
    try:
        os.getcwd()
    except FileNotFoundError as error:  # libraries would fail in ways of their own
        raise UserError("the working directory was deleted: go to another one with cd") from error
    sys.argv = [f"speaker-count {verb}", *arguments[1:]]
    if verb in ("train", "forecast"):  # own nets in the working directory; last: its files hide no package
        sys.path.append("")
    if verb == "evaluate" and "trainer=ddp" in arguments:
        from speaker_count.training import processes

        processes.start_server()  # the server imports what other ranks need while this process imports too
    if is_completion:
        importlib.import_module("speaker_count.commands.completion").main(arguments, [*VERBS])
    else:
        importlib.import_module(f"speaker_count.commands.{verb}").main()
