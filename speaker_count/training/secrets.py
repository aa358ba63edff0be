"""Secrets in overrides and configs: nothing that is written holds them."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

MASK = "***"
WORDS = ("api_?key", "private_?key", "passw(or)?d", "passphrase", "secret", "token", "auth", "credentials?")
SECRET_KEY = re.compile(f"({'|'.join(WORDS)})$", re.IGNORECASE)
IN_URL = re.compile(r"(?<=://)[^/@\s]+(?=@)")  # user:password@host
IN_LITERAL = re.compile(rf"(\b[\w.]*(?:{'|'.join(WORDS)})\s*:\s*)[^,}}\s]+", re.IGNORECASE)  # {api_key: ...}
SETTING = re.compile(r"true|false|null|[\d.,e+\-\[\]]*", re.IGNORECASE)  # a value of max_token or cls_token, say


def masked(tree: Any) -> Any:
    """A tree of plain values, without secrets: words under a key that looks like a secret's, and passwords in URLs.

    Strings in lists may be overrides (`KEY=VALUE`).
    """
    if isinstance(tree, Mapping):
        return {key: MASK if _is_secret(key, value) else masked(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [masked_override(each) if isinstance(each, str) else masked(each) for each in tree]
    return IN_URL.sub(MASK, tree) if isinstance(tree, str) else tree


def masked_override(override: str) -> str:
    """An override, masked likewise."""
    key, equals, value = override.partition("=")
    if equals and _is_secret(key, value):
        return f"{key}{equals}{MASK}"
    return key + equals + IN_LITERAL.sub(rf"\g<1>{MASK}", IN_URL.sub(MASK, value))


def values(tree: Any) -> Iterator[str]:
    """The secrets in a tree, which may stand in other strings, too."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from [value] if _is_secret(key, value) else values(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from values(value)
    elif isinstance(tree, str):
        yield from IN_URL.findall(tree)


def _is_secret(key: Any, value: Any) -> bool:
    """Whether a value looks like a secret, under a key that may be dotted."""
    return isinstance(value, str) and SECRET_KEY.search(str(key)) is not None and SETTING.fullmatch(value) is None
