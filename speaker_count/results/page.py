"""The report's files: a page that stands alone, and beside it every table and figure by itself."""

import base64
import io
import os
import wave
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import jinja2
import numpy as np
from matplotlib.figure import Figure as Drawing

from speaker_count.results import figures, tables


@dataclass
class Text:
    """A paragraph; `heading` stands before it in bold."""

    text: str
    heading: str = ""
    block: ClassVar[str] = "text"


@dataclass
class Table:
    """Rows under headings; `name` is that of its files."""

    name: str
    title: str
    rows: Sequence[tables.Row]
    columns: Mapping[str, str]
    note: str = ""
    block: ClassVar[str] = "table"


@dataclass
class Figure:
    """What draws it, when its turn comes (all at once would take much memory), and what it shows; `name` is that of its
    files.
    """

    name: str
    caption: str
    draw: Callable[[], Drawing]
    source: str = ""
    block: ClassVar[str] = "figure"


@dataclass
class Card:
    """A clip: its spectrogram, what can be listened to (label, data URI), and what is to be said of it."""

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
    """A heading and what is under it."""

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
        footer: what the page rests on: names and values.
    """
    for name in ("tables", "figures"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for block in (block for section in sections for block in section.blocks):
        if isinstance(block, Table):
            for suffix, text in (
                ("md", tables.markdown(block.rows, block.columns)),
                ("csv", tables.csv_text(block.rows).rstrip("\n")),
                ("tex", tables.latex(block.rows, block.columns)),
            ):
                (folder / "tables" / f"{block.name}.{suffix}").write_text(text + "\n")
        elif isinstance(block, Figure):
            block.source = figures.save(block.draw(), folder / "figures", block.name)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    template = environment.get_template("page.html.jinja")
    path = folder / "index.html"
    partial = folder / "index.html.partial"
    partial.write_text(template.render(title=title, sections=sections, footer=footer, cells=tables.cells))
    os.replace(partial, path)
    return path
