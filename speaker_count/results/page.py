"""The report's files: a page that stands alone, and beside it a file for each table and figure."""

import base64
import io
import re
import wave
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import filelock
import jinja2
import numpy as np
from matplotlib.figure import Figure as Drawing

from speaker_count import files
from speaker_count.errors import printable
from speaker_count.results import figures, tables

BREAKS = re.compile(r"(?<=[_=])|(?<=[a-z]\.)")  # where a narrow column breaks the name of a key, rather than its value


@dataclass
class Text:
    """A paragraph; `heading` stands before it in bold."""

    text: str
    heading: str = ""
    block: ClassVar[str] = "text"


@dataclass
class Table:
    """Rows under headings; `name` is that of its files, `screen` the columns for a terminal (None: not printed)."""

    name: str
    title: str
    rows: Sequence[tables.Row]
    columns: Mapping[str, str]
    note: str = ""
    screen: Mapping[str, str] | None = None
    block: ClassVar[str] = "table"


@dataclass
class Figure:
    """A figure and its caption. `draw` draws it when its turn comes, as all at once would take much memory; `name` is
    that of its files.
    """

    name: str
    caption: str
    draw: Callable[[], Drawing]
    source: str = ""
    block: ClassVar[str] = "figure"


@dataclass
class Card:
    """A clip: its spectrogram, its sounds (label, data URI), and lines of text about it."""

    heading: str
    image: str
    sounds: Sequence[tuple[str, str]]
    lines: Sequence[str] = ()
    right: bool | None = None


@dataclass
class Cards:
    """Clips to look at and listen to."""

    title: str
    cards: Sequence[Card]
    note: str = ""
    block: ClassVar[str] = "cards"


@dataclass
class Section:
    """A heading and the blocks below it."""

    title: str
    blocks: list[Any] = field(default_factory=list)


def sound(waveform: np.ndarray, sample_rate: int) -> str:
    """A clip `(samples,)` int16 as a WAV file in a data URI."""
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setparams((1, 2, sample_rate, len(waveform), "NONE", ""))
        file.writeframes(waveform.astype("<i2").tobytes())
    return "data:audio/wav;base64," + base64.b64encode(data.getvalue()).decode()


def write(folder: Path, title: str, sections: Sequence[Section], footer: Sequence[tuple[str, str]]) -> Path:
    """Write `index.html`, `tables/NAME.{md,csv,tex}` and `figures/NAME.{png,svg}` into a folder; returns the page.

    Args:
        footer: names and values of what the results rest on.
    """
    for each in (folder, folder / "tables", folder / "figures"):
        files.make_own(each)
    path = folder / "index.html"
    with filelock.FileLock(folder / ".lock"):  # another process that makes the same report is waited for
        for block in (block for section in sections for block in section.blocks):
            if isinstance(block, Table):
                _write_table(folder / "tables", block)
            elif isinstance(block, Figure):
                block.source = figures.save(block.draw(), folder / "figures", block.name)
        files.write_text(path, _page(title, sections, footer))
    return path


def _write_table(folder: Path, table: Table) -> None:
    for suffix, text in (
        ("md", tables.markdown(table.rows, table.columns)),
        ("csv", tables.csv_text(table.rows).rstrip("\n")),
        ("tex", tables.latex(table.rows, table.columns)),
    ):
        files.write_text(folder / f"{table.name}.{suffix}", text + "\n")


def _page(title: str, sections: Sequence[Section], footer: Sequence[tuple[str, str]]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: printable(value) if isinstance(value, str) else value,
    )
    template = environment.get_template("page.html.jinja")
    return template.render(title=title, sections=sections, footer=footer, cells=tables.cells, pieces=BREAKS.split)
