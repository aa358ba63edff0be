"""Counts as they come, in a terminal and elsewhere."""

import io
import os

import numpy as np
import pytest

from speaker_count.inference import view
from speaker_count.inference.predictor import Moment

LABELS = ["0 speakers", "1 speaker", "2 speakers"]


class Terminal(io.StringIO):
    """Text that says that it is a terminal, in UTF-8."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def moments(*counts):
    return [Moment(0.5 + 0.25 * place, count, np.array([0.1, 0.2, 0.7]), 0.25) for place, count in enumerate(counts)]


def screen(written: str) -> list[str]:
    """What a terminal shows after it got a text with the view's codes."""
    rows, row = [""], 0
    for part in written.replace("\x1b[J", "").split("\x1b["):
        text = part
        if part[:1].isdigit() and "F" in part:
            up, _, text = part.partition("F")
            row -= int(up)
        elif part.startswith("K"):
            text = part[1:]
        for place, line in enumerate(text.split("\n")):
            row += place > 0
            rows += [""] * (row + 1 - len(rows))
            if line:
                rows[row] = line
    return rows


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_terminal_s_view_is_drawn_again_in_its_place(monkeypatch, columns):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(view.shutil, "get_terminal_size", lambda: os.terminal_size((columns, 24)))
    output = Terminal()
    shown = view.shown(output, [0, 1, 2], LABELS)
    for moment in moments(*[1] * 40, *[2] * 4, *[0] * 402, *[2] * 8):
        shown.add(moment, 0.0)
    two, one, nobody, axis, now, rest = screen(output.getvalue())
    assert rest == ""
    assert max(map(len, (two, one, nobody, axis, now))) < min(columns, 80)
    assert two.rstrip().endswith(" ██")
    assert one.rstrip() == two.rstrip().replace(" 2 │", " 1 │")
    assert axis.split()[-1] == "now"
    assert "2 speakers (70%)" in now


def test_another_width_begins_a_new_view(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    output = Terminal()
    shown = view.Rolling(output, [0, 1, 2], LABELS)
    for columns, moment in zip((80, 80, 50, 50), moments(1, 1, 1, 1), strict=True):
        monkeypatch.setattr(view.shutil, "get_terminal_size", lambda columns=columns: os.terminal_size((columns, 24)))
        shown.add(moment, 0.0)
    assert len(screen(output.getvalue())) == 11


@pytest.mark.parametrize(("term", "kind"), [("dumb", Terminal), ("xterm", io.StringIO)])
def test_elsewhere_a_change_is_a_line(monkeypatch, term, kind):
    monkeypatch.setenv("TERM", term)
    output = kind()
    shown = view.shown(output, [0, 1, 2], LABELS)
    for moment in moments(1, 1, 2, 2, 0):
        shown.add(moment, 0.0)
    assert [line.split()[1:] for line in output.getvalue().splitlines()] == [
        ["0:01", "1", "speaker", "(70%)"],
        ["0:01", "2", "speakers", "(70%)"],
        ["0:02", "0", "speakers", "(70%)"],
    ]
