"""Names from anywhere are shown as text: no page, spreadsheet, terminal or typesetter takes one as an instruction."""

import csv
import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from markdown_it import MarkdownIt

from speaker_count.errors import UserError, printable
from speaker_count.results import tables
from speaker_count.results.record import RunResult
from speaker_count.sweeping import wandb_views
from tests import conftest
from tests.conftest import SMALL, make_tree
from tests.sweeping.test_page import CHROMIUM

PRINTABLE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>",
    "</title></style><iframe src=javascript:alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-1+1",
    "@SUM(1,1)",
    "＝1+1",  # noqa: RUF001
    "`code` a|b **c** [d](javascript:alert(1)) <b>e</b> \\",
    r"\input{/etc/passwd} $x$ _ & % # ~ ^ {}",
    "[1cm] in LaTeX",
    "trainer.a') or Config('b=1",
    "long " * 40,
)
UNPRINTABLE = (
    "\t=1+1",
    "\r=1+1",
    "two\nlines",
    "\x1b[2J\x1b[31mred",
    "\x1b]0;title\x07",
    "a\u202egnp.exe",
    "\u2066b\u2069",
    "nothing\u200b",
    "\x9b31mred",
    "caf\udce9",  # a folder whose name is not UTF-8
)
NAMES = (*PRINTABLE, *UNPRINTABLE)
FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001


def renamed(path, names):
    """Give the speakers and utterances in a run's predictions other names."""
    table = pq.read_table(path).to_pydict()
    for column in ("speakers", "utterances"):
        numbers: dict[str, int] = {}
        for row in table[column]:
            row[:] = [names[numbers.setdefault(name, len(numbers)) % len(names)] for name in row]
    pq.write_table(pa.table(table), path)


@pytest.fixture(scope="session")
def hostile(made_once, finished_sweep, cache):
    """Two sweeps with hostile names wherever a name can stand, and their report; not to be changed."""

    def fill(folder):
        for number in range(4):
            name = PRINTABLE[5 + number]  # they look like formulas
            net = ("m3", "m5")[number % 2]
            run = shutil.copytree(next(finished_sweep.glob(f"{net}-*")), folder / "sweep" / f"run{number}")
            values = json.loads((run / "result.json").read_text())
            values |= {"changes": PRINTABLE[number::4], "paper_name": name, "commit": name, "device": name}
            values["command"] = " ".join(UNPRINTABLE[:-1])
            values["versions"] |= dict.fromkeys(PRINTABLE, name)
            values["data"]["name"] = values["mix"]["name"] = PRINTABLE[0].replace("/", "")
            values["mix"]["seed"] = number // 3  # the last one is on other clips
            (run / "result.json").write_text(json.dumps(values))
            renamed(run / "predictions.parquet", NAMES[:-1])  # Arrow has no half of a character
        for name in (name for name in NAMES if "/" not in name and len(name) < 200):
            begun = folder / "sweep" / f"{name}-begun"
            begun.mkdir()
            (begun / "identity.json").write_text("{}")
            if not name.startswith("\x1b"):
                (begun / "diverged.json").write_text(json.dumps({"message": name}))
        broken = folder / "sweep" / "broken\x1b[2J"
        broken.mkdir()
        (broken / "result.json").write_text('{"schema": 1, "model": "\\u001b[2J\\u202e"}')
        done = conftest.speaker_count(folder, cache, "report", "sweep")
        (folder / "printed.txt").write_text(done.stdout + done.stderr)
        assert done.returncode == 0, done.stderr

    return made_once("hostile", fill)


def every(folder, suffix):
    return sorted((folder / "sweep" / "report" / "tables").glob(f"*.{suffix}"))


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_the_page_shows_them_as_text(hostile, tally):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        events: list[str] = []
        page.on("dialog", lambda dialog: (events.append(dialog.message), dialog.dismiss()))
        page.on("console", lambda message: events.append(message.text))
        page.on("pageerror", lambda error: events.append(str(error)))
        page.on("request", lambda request: events.append(request.url[:99]) if request.url[:4] == "http" else None)
        page.goto((hostile / "sweep" / "report" / "index.html").as_uri())
        page.wait_for_function("[...document.images].every(image => image.complete)")
        assert not events
        assert page.locator("script, iframe, svg, object, embed, base, meta[http-equiv], form, b").count() == 0
        injected = "[...document.querySelectorAll('*')].filter(e => [...e.attributes].some(a => /^on/.test(a.name)))"
        assert page.evaluate(f"{injected}.length") == 0
        assert page.evaluate("[...document.images].filter(image => !image.naturalWidth).length") == 0
        sources = page.evaluate("[...document.images].map(image => image.src.slice(0, 5))")
        assert set(sources) == {"data:"}
        shown = page.evaluate("document.body.textContent")
        browser.close()
    for name in NAMES[:-1]:
        assert printable(name) in shown, name
    assert all(letter.isprintable() or letter == "\n" for letter in shown)
    assert "49" not in re.findall(r"\{\{.*", shown)
    tally(inputs=len(NAMES))


def test_figures_are_images_whatever_a_net_is_called(hostile, tally):
    drawn = sorted((hostile / "sweep" / "report" / "figures").glob("*.svg"))
    labels = set()
    for path in drawn:
        for node in ElementTree.parse(path).iter():
            assert node.tag.rpartition("}")[2] not in ("script", "a", "foreignObject", "iframe")
            assert not any(name.startswith("on") for name in node.attrib)
            labels.add(node.text)
    assert any(label and PRINTABLE[0] in label for label in labels)
    tally(inputs=len(drawn))


def test_a_spreadsheet_computes_none_of_them(hostile, tally):
    cells, numbers = [], []
    for path in every(hostile, "csv"):
        for row in csv.reader(path.open(newline="")):
            for cell in row:
                try:
                    numbers.append(float(cell))
                except ValueError:
                    cells.append(cell)
    assert not [cell for cell in cells if cell.startswith(FORMULA)]
    for name in PRINTABLE[5:9]:
        assert f"'{name}" in cells
    assert min(numbers) < 0  # a difference is a number
    tally(inputs=len(cells))


def test_tables_in_markdown_keep_their_cells_and_hold_no_html(hostile, tally):
    markdown = MarkdownIt("commonmark", {"html": True}).enable("table")
    names = 0
    for path in every(hostile, "md"):
        lines = path.read_text().splitlines()
        assert len({len(re.findall(r"(?<!\\)\|", re.sub(r"\\\\", "", line))) for line in lines}) == 1, path
        tokens = markdown.parse(path.read_text())
        inner = [child for token in tokens for child in token.children or []]
        assert not {"html_block", "fence"} & {token.type for token in tokens}
        assert not {"html_inline", "code_inline", "link_open", "image"} & {token.type for token in inner}
        names += any(PRINTABLE[0] in token.content for token in inner)
    assert names
    tally(inputs=len(NAMES))


def test_latex_gets_no_command_of_theirs(hostile, tally):
    for path in every(hostile, "tex"):
        begin, *lines, end = path.read_text().splitlines()
        assert re.fullmatch(r"\\begin\{tabular\}\{[lr]+\}", begin)
        assert end == r"\end{tabular}"
        separators = set()
        for line in (line for line in lines if line != r"\hline"):
            assert line.endswith(r" \\")
            assert not line.startswith(("[", "*"))
            own = re.sub(r"^\{\}|\\text(backslash|asciitilde|asciicircum)\{\}|\\[&%$#_{}]", "", line[:-3])
            assert not set(own) & set("\\%$#_{}~^"), line
            separators.add(own.count("&"))
        assert len(separators) == 1
    for name in ("[1cm] in LaTeX", "*"):  # the end of the line before would take it
        assert "\n{}" + name in tables.latex([{"net": name}], {"net": "net"})
    tally(inputs=len(NAMES))


def test_a_terminal_gets_no_command_of_theirs(hostile, tally):
    printed = (hostile / "printed.txt").read_text()
    assert all(letter.isprintable() or letter == "\n" for letter in printed)
    assert r"\x1b[2J\x1b[31mred" in printed
    assert r"a\u202egnp.exe" in printed.replace("\n", "")
    row = {"net": "\x1b[2J\u202eabc\nd|e", "test accuracy": -0.08}
    for shown in (tables.for_terminal([row], {name: name for name in row}, width) for width in (20, 100)):
        assert all(letter.isprintable() or letter == "\n" for letter in shown)
    for name in NAMES:
        assert str(UserError(f"no {name} here")).isprintable()
    tally(inputs=len(NAMES))


@pytest.mark.parametrize("key", ["data/name", "mix/name", "changes", "paper_name", "commit", "device", "model"])
def test_a_result_whose_names_are_not_printable_is_refused(finished_sweep, tmp_path, key, tally):
    run = shutil.copytree(next(finished_sweep.glob("m5-*")), tmp_path / "run")
    before = json.loads((run / "result.json").read_text())
    for name in UNPRINTABLE:
        values = json.loads(json.dumps(before))
        node = values[key.partition("/")[0]] if "/" in key else values
        node[key.rpartition("/")[2]] = [name] if key == "changes" else name
        (run / "result.json").write_text(json.dumps(values))
        with pytest.raises(UserError) as caught:
            RunResult.read(run)
        assert str(caught.value).isprintable()
    tally(inputs=len(UNPRINTABLE))


def test_weights_and_biases_gets_them_as_data(hostile, tally):
    results = [RunResult.read(path.parent) for path in sorted(hostile.glob("sweep/run*/result.json"))]
    rows = [wandb_views.row(result) for result in results]
    for name in NAMES:  # of the folder
        report = wandb_views.report("project", "", name, rows)
        workspace = wandb_views.workspace("project", "", name, rows)
        specification = wandb_views.specification(workspace, report)
        assert json.loads(json.dumps(specification)) == specification
        assert "calc" not in json.dumps(specification["workspace"]["spec"]["section"]["runSets"])
        assert specification["workspace"]["displayName"].isprintable()
        assert specification["report"]["displayName"].isprintable()
    markdown = MarkdownIt("commonmark", {"html": True}).enable("table")
    for split, metric in wandb_views.TABLES.values():
        text = wandb_views.table(rows, split, metric)
        if text is not None:
            inner = [child.type for token in markdown.parse(text) for child in token.children or []]
            assert "html_inline" not in inner
    tally(inputs=len(rows))


def test_an_offline_run_holds_them_unchanged(command, tree, tmp_path, tally):
    name = "<script>alert(1)</script> \" ' ` $x$ =1+1"
    quoted = name.replace("'", r"\'")
    run = ("train", *SMALL, f"data.root={tree}", "model=m3", f"mix.name='{quoted}'")
    done = command(*run, "hydra.run.dir='<b>|run'", "logger.mode=offline")
    assert done.returncode == 0, done.stderr
    (log,) = (tmp_path / "<b>|run").glob("wandb/offline-run-*/run-*.wandb")
    inspect = [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json", log]
    logged = json.loads(subprocess.run(inspect, capture_output=True, text=True, check=True).stdout)
    assert logged["name"] == "<b>|run"
    assert logged["config"]["mix"]["name"] == name
    tally(inputs=1)


def test_a_corpus_with_hostile_names(verb, tmp_path, caplog, tally):
    """The clips' metadata hold its names exactly; a spreadsheet computes none of them in the CSV files."""
    root = make_tree(tmp_path / "tree") / "LibriSpeech"
    odd = ["=1+1", "+1", "-1+1", "@SUM(1)", "<img src=x onerror=alert(1)>", "a,b", '"', "x" * 200, "it's", "$x$", "\\"]
    lines = ["; a comment \x1b[2J \u202e"]
    for number, folder in enumerate(sorted((root / "speech").iterdir())):
        name = odd[number] if number < len(odd) else f"-{number}"
        sex = "F" if number < 12 else "M"
        folder.rename(folder.with_name(name))
        for file in folder.with_name(name).rglob("*.flac"):
            file.rename(file.with_name(f"{name}-{file.name}"))
        lines.append(f"{name} | {sex} | speech | 0.10 | <b>|=1+1| \x1b[2J \u202e")
    (root / "SPEAKERS.TXT").write_text("\n".join(lines))
    (root / "speech" / "\x1b[2J\u202e").mkdir()
    code, out, err = verb("clips", *SMALL[:4], "data.root=tree", "out=clips")
    assert code == 0, err
    assert all(letter.isprintable() or letter in "\n" for letter in out + caplog.text)
    assert r"left out: '\x1b[2J\u202e'" in caplog.text
    found = set()
    for split in ("train", "validation", "test"):
        exact = pq.read_table(tmp_path / "clips" / f"metadata_{split}.parquet")
        found |= {name for names in exact["speaker_ids"].to_pylist() for name in names}
        rows = list(csv.DictReader((tmp_path / "clips" / f"metadata_{split}.csv").open(newline="")))
        assert len(rows) == len(exact)
        for row, speakers in zip(rows, exact["speaker_ids"].to_pylist(), strict=True):
            assert row["speaker_ids"].removeprefix("'") == " ".join(speakers)
            assert not row["speaker_ids"].startswith(FORMULA)
            assert not row["utterances"].startswith(FORMULA)
            assert float(row["scale"]) > 0
    assert len(found & set(odd)) > 5
    (root / "SPEAKERS.TXT").write_text("\x1b[2J | X | \u202e\n")
    code, _, err = verb("clips", *SMALL[:4], "data.root=tree", "out=more")
    assert (code, len(err.splitlines())) == (2, 1)
    assert err.strip().isprintable()
    tally(inputs=len(odd) + 2)
