"""The command `speaker-count`."""

import importlib
import sys

from speaker_count import processes
from speaker_count.errors import user_error

VERBS = {
    "train": "one run, or with --multirun a sweep; any key of the config can be overridden",
    "evaluate": "a finished run on another corpus or mix: evaluate RUN_DIR [overrides]",
    "prepare": "get, verify, index and decode a corpus: prepare data=librispeech",
    "clips": "the clips that training streams, as WAV files with metadata: clips data=librispeech out=DIR",
    "forecast": "what train with the same overrides would do, how long and with how much disk: forecast [overrides]",
    "report": "the table of a run or a sweep: report DIR",
    "dashboard": "the same comparison in Weights & Biases, or with --dry-run as JSON: dashboard DIR",
}


def main() -> None:
    """Hand over to the verb's own `main`, which reads the rest of the command line."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: speaker-count VERB ...\n")
        for verb, does in VERBS.items():
            print(f"  {verb:10} {does}")
        print("\n`speaker-count VERB --help` tells more.")
        return
    verb = arguments[0]
    if verb == "--version":
        from speaker_count import __version__

        print(__version__)
        return
    if verb not in VERBS:
        print(f"speaker-count: no verb {verb!r}; there are {', '.join(VERBS)}", file=sys.stderr)
        sys.exit(2)
    sys.argv = [f"speaker-count {verb}", *arguments[1:]]
    sys.path.insert(0, "")  # nets of the user's own, beside where they stand, as with `python -m`
    if verb in ("train", "evaluate") and not {"-m", "--multirun", "trainer=ddp"}.isdisjoint(arguments):
        processes.begin()  # to import what its processes need while this one does so too
    try:
        importlib.import_module(f"speaker_count.{verb}").main()
    except Exception as error:
        mistake = user_error(error)
        if mistake is None and not type(error).__module__.startswith("hydra."):
            raise
        print(mistake or error, file=sys.stderr)
        sys.exit(1 if mistake is None else 2)
