"""Files that are shorter than their format says, in formats whose decoders do not mention it."""

import os
from typing import IO

PAGE = 27 + 255 + 255 * 255  # bytes of the longest page of an Ogg file
EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def lacking(file: IO[bytes]) -> tuple[int, int] | None:
    """The bytes that an Ogg, Matroska, WebM or AVI file has, and that it should have; None: it lacks none, as far as it
    says. Its position stays.
    """
    if not hasattr(os, "pread"):  # on Windows
        return None
    size = os.fstat(file.fileno()).st_size
    head = os.pread(file.fileno(), 256, 0)
    should = 0
    if head.startswith(b"OggS"):
        first = max(0, size - PAGE)
        should = _end_of_last_page(os.pread(file.fileno(), PAGE, first)) + first
    elif head.startswith(EBML):
        should = _end_of_segment(head)
    elif head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        should = 8 + int.from_bytes(head[4:8], "little")  # 0, where it was streamed
    return (size, should) if should > size else None


def _end_of_last_page(tail: bytes) -> int:
    begin = tail.rfind(b"OggS\0")
    if begin < 0:
        return 0
    sizes = begin + 27
    if len(tail) < sizes or len(tail) < sizes + tail[sizes - 1]:
        return len(tail) + 1  # its header is cut
    return sizes + tail[sizes - 1] + sum(tail[sizes : sizes + tail[sizes - 1]])


def _end_of_segment(head: bytes) -> int:
    """Of a Matroska file, which holds one segment behind its header; 0: it does not say."""
    begin = len(EBML)
    begin += sum(_number(head, begin) or (0, 0))
    if head[begin : begin + len(SEGMENT)] != SEGMENT:
        return 0
    number = _number(head, begin + len(SEGMENT))
    return 0 if number is None else begin + len(SEGMENT) + sum(number)


def _number(head: bytes, at: int) -> tuple[int, int] | None:
    """How many bytes a number takes, and the number; None: it is unknown, as a stream has it."""
    first = head[at] if at < len(head) else 0
    length = 9 - first.bit_length()
    number = int.from_bytes(head[at : at + length], "big") & ((1 << 7 * length) - 1)
    return None if not first or number == (1 << 7 * length) - 1 else (length, number)
