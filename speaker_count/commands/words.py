"""The words of a command line that names trained nets, files and overrides in any order."""

from collections.abc import Sequence
from pathlib import Path


def divided(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The nets and the overrides; a path that exists is a net, even with `=` in its name."""
    nets = [word for word in words if "=" not in word or Path(word).exists()]
    return nets, [word for word in words if word not in nets]
