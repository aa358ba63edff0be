"""Tab completion in bash and zsh: `eval "$(speaker-count train -sc install=bash)"`, as in any Hydra program.

Hydra's shell function asks `COMMAND -sc query=bash` for words, and knows no verbs. Here the verb is completed, or left
out, so that Hydra sees a command line of its own.
"""

import contextlib
import io
import os
import sys
from collections.abc import Sequence

WITH_OVERRIDES = ("train", "evaluate", "stress", "weights", "export", "prepare", "clips", "forecast")
NOT_HYDRA_S = ("out=", "workers=")  # of clips


def main(arguments: Sequence[str], verbs: Sequence[str]) -> None:
    """Install, uninstall or query completion.

    Args:
        arguments: of the command line; a verb before them says nothing.
        verbs: of the command.
    """
    subcommand = [argument for argument in arguments if argument not in verbs]
    if "query=bash" not in subcommand:
        _ask_hydra(subcommand)  # for the command, whatever its verb
        return
    words = os.environ.get("COMP_LINE", "").split(" ")[1:]
    if len(words) < 2:
        print(*(verb for verb in verbs if verb.startswith("".join(words))))
        return
    verb, *before, last = words
    if verb not in WITH_OVERRIDES or last.startswith("-"):
        return  # the shell completes paths
    key, _, values = last.partition("=")
    chosen, comma, begun = values.rpartition(",")  # of a sweep: model=m3,m5
    os.environ["COMP_LINE"] = " ".join(
        ["speaker-count", *filter(_is_hydra_s, before), f"{key}={begun}" if comma else last]
    )
    answer = io.StringIO()
    # a line that does not compose has no completions, and nothing is to be said in the midst of it
    with contextlib.redirect_stdout(answer), contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(SystemExit):
        _ask_hydra([*subcommand, *_config_dir(before)])
    found = answer.getvalue().split()
    print(*(f"{key}={chosen},{word.removeprefix(f'{key}=')}" for word in found) if comma else found)


def _ask_hydra(arguments: Sequence[str]) -> None:
    from speaker_count.commands import train

    sys.argv = ["speaker-count", *arguments]
    train.main()


def _config_dir(words: Sequence[str]) -> list[str]:
    """The option for the user's own configs, if the command line has it."""
    for place, word in enumerate(words):
        if word in ("--config-dir", "-cd") and len(words) > place + 1:
            return ["--config-dir", words[place + 1]]
        if word.startswith("--config-dir="):
            return [word]
    return []


def _is_hydra_s(word: str) -> bool:
    """Whether a word is an override of one value, which Hydra composes."""
    return ("=" in word or word[:1] == "~") and "," not in word and not word.startswith(("-", *NOT_HYDRA_S))
