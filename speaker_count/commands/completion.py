"""Tab completion in bash and zsh: `eval "$(speaker-count -sc install=bash)"`, as in any Hydra program.

The shell's function asks `COMMAND -sc query=bash` for words. Verbs, their options and the choices of an option are
completed here, also where Hydra is not installed; Hydra completes overrides, from a command line without the verb,
which it does not know.
"""

import contextlib
import importlib
import io
import os
import re
import sys
from collections.abc import Iterator, Sequence

WITH_OVERRIDES = ("train", "evaluate", "stress", "weights", "export", "prepare", "clips", "forecast")
NOT_HYDRA_S = ("out=", "workers=")  # of clips
SHELLS = ("bash", "zsh")  # zsh by its bashcompinit
INSTALL = """\
_speaker_count() {
    COMPREPLY=($(COMP_LINE="$COMP_LINE" "${COMP_WORDS[0]}" -sc query=bash 2>/dev/null))
    [[ "${COMPREPLY[*]}" == *[=./]* ]] || compopt +o nospace 2>/dev/null || true
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
complete -o nospace -o default -F _speaker_count speaker-count"""
UNINSTALL = "complete -r speaker-count\nunset -f _speaker_count"
# in a verb's help: an option, and what may follow it
OPTION = re.compile(r"^ +(?:-\w(?: \S+)?, )?(--[a-z][a-z-]*)(?: \{(\S+)\})?", re.MULTILINE)


def main(arguments: Sequence[str], verbs: Sequence[str]) -> None:
    """Install, uninstall or query completion.

    Args:
        arguments: of the command line; a verb before them says nothing.
        verbs: of the command.
    """
    subcommand = [argument for argument in arguments if argument not in verbs]
    scripts = {"install": INSTALL, "uninstall": UNINSTALL}
    for does, shell in (word.split("=", 1) for word in subcommand if "=" in word):
        if does in scripts and shell in SHELLS:
            print(scripts[does])
            return
    if "query=bash" not in subcommand:
        _ask_hydra(subcommand)  # for another shell
        return
    words = os.environ.get("COMP_LINE", "").split(" ")[1:]
    if len(words) < 2:
        print(*(verb for verb in verbs if verb.startswith("".join(words))))
        return
    verb, *before, last = words
    before_last = "".join(before[-1:])
    if last.startswith("-") or before_last.startswith("-"):
        options = _options(verb, verbs)
        words = [f"{option}={choice}" for option in options for choice in options[option]]
        found = [word for word in words if "=" in last and word.startswith(last)]
        found += [choice for choice in options.get(before_last, []) if choice.startswith(last)]
        found = found or [option for option in options if last.startswith("-") and option.startswith(last)]
        if found or last.startswith("-"):
            print(*found)
            return
    if verb not in WITH_OVERRIDES:
        return  # the shell completes paths
    key, _, values = last.partition("=")
    chosen, comma, begun = values.rpartition(",")  # of a sweep: model=m3,m5
    os.environ["COMP_LINE"] = " ".join(
        ["speaker-count", *filter(_is_hydra_s, before), f"{key}={begun}" if comma else last]
    )
    answer = io.StringIO()
    with _silently(answer):  # a line that does not compose has no completions
        _ask_hydra([*subcommand, *_config_dir(before)])
    found = answer.getvalue().split()
    print(*(f"{key}={chosen},{word.removeprefix(f'{key}=')}" for word in found) if comma else found)


@contextlib.contextmanager
def _silently(answer: io.StringIO) -> Iterator[None]:
    """Take what is printed as the answer: nothing is to be said in the midst of a command line, not even that Hydra is
    not installed.
    """
    quiet = contextlib.redirect_stdout(answer), contextlib.redirect_stderr(io.StringIO())
    with quiet[0], quiet[1], contextlib.suppress(SystemExit, ImportError):
        yield


def _options(verb: str, verbs: Sequence[str]) -> dict[str, list[str]]:
    """A verb's own options with their choices, if they have some, from its help; those of train are Hydra's."""
    if verb not in verbs or verb == "train":
        return {}
    answer = io.StringIO()
    sys.argv = [f"speaker-count {verb}", "--help"]
    with _silently(answer):
        importlib.import_module(f"speaker_count.commands.{verb}").main()
    return {option: choices.split(",") if choices else [] for option, choices in OPTION.findall(answer.getvalue())}


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
