"""Tables, lists, folders of clips and pools that are odd: every reader takes them, or refuses them with one line."""

import hashlib
import io
import json
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies

from speaker_count.data import corpus, manifest, pool
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.data.pool import Pool
from speaker_count.data.wav_folder import WavFolder
from speaker_count.data.wav_writer import write
from speaker_count.labels import SEXES, SPLITS
from tests.conftest import RATE, make_tree, mix_of
from tests.faults.mutating import CHANGE, Rewritten, attempt, cases, limits, odd_bytes, odd_table, odd_tree, parquet

SPEAKERS = b"""; ID |SEX| SUBSET |MINUTES| NAME
100  | F | speech           | 25.19 | Nobody
101  | M | speech           | 25.03 | |CBW|Simon
"""
LISTED = b"speech 100-7-0000\n101-7-0000\n"
MIX = mix_of(6, 6, 6)
RANDOM = strategies.binary(max_size=300)


@pytest.fixture(autouse=True)
def limited():
    with limits():
        yield


@pytest.fixture
def tries(tally):
    """Calls a function with as many examples as a number says; it returns False for one that gives no file."""

    def all_of(number, drawn, function):
        tried = 0

        @cases(number, drawn)
        def each(example):
            nonlocal tried
            tried += function(example) is not False

        each()
        tally(inputs=tried)

    return all_of


@pytest.fixture
def small(tmp_path) -> Path:
    """A corpus of two short utterances."""
    return make_tree(tmp_path / "small", women=1, men=1, utterances=1, seconds=0.01)


@pytest.fixture
def data(tmp_path) -> ClipDataModule:
    """A pool of 18 utterances, opened."""
    root = make_tree(tmp_path / "tree", women=9, men=9, utterances=1, seconds=1.1)
    made = ClipDataModule("folder", str(root), str(tmp_path / "cache"), MIX)
    made.setup()
    return made


@pytest.mark.parametrize(
    ("number", "odd", "drawn"),
    [(20_000, partial(odd_bytes, SPEAKERS), CHANGE), (4000, bytes, RANDOM)],
    ids=["bytes", "random"],
)
def test_a_table_of_speakers_is_read_or_refused_with_one_line(tmp_path, tries, number, odd, drawn):
    file = Rewritten(tmp_path / "SPEAKERS.TXT")

    def read(example):
        file.put(odd(example))
        table = attempt(corpus.read_speakers, file.path) or {}
        assert {*table.values()} <= {*SEXES}

    tries(number, drawn, read)


def test_a_corpus_with_an_odd_table_of_speakers_is_listed_or_refused_with_one_line(small, tries):
    file = Rewritten(small / "LibriSpeech" / "SPEAKERS.TXT")

    def index(change):
        file.put(odd_bytes(SPEAKERS, change))
        attempt(corpus.index, small)

    tries(1500, CHANGE, index)


@pytest.mark.parametrize(
    ("number", "odd", "drawn"),
    [(3000, partial(odd_bytes, LISTED), CHANGE), (1000, bytes, RANDOM)],
    ids=["bytes", "random"],
)
def test_an_odd_list_of_utterances_is_read_or_refused_with_one_line(small, tmp_path, tries, number, odd, drawn):
    file = Rewritten(tmp_path / "list.txt")
    index = partial(corpus.index, small, utterance_list=file.path)

    def read(example):
        file.put(odd(example))
        listed = attempt(index)
        assert listed is None or {*listed.utterances.to_pylist()} <= {"100-7-0000", "101-7-0000"}

    tries(number, drawn, read)


MANIFEST = b"path,speaker,sex,split,start,end\na.flac,1,F,train,0,1.5\na.flac,2,M,test,1.5,\nb.wav,3,,dev,,\n"


@pytest.mark.parametrize(
    ("number", "odd", "drawn"),
    [(6000, partial(odd_bytes, MANIFEST), CHANGE), (2000, bytes, RANDOM)],
    ids=["bytes", "random"],
)
def test_an_odd_manifest_is_read_or_refused_with_one_line(tmp_path, tries, number, odd, drawn):
    for name in ("a.flac", "b.wav"):
        (tmp_path / name).touch()
    file = Rewritten(tmp_path / "m.csv")

    def read(example):
        file.put(odd(example))
        listed = attempt(manifest.index, file.path)
        if listed is not None:
            assert len(listed.splits) == len(listed.sexes) == len(listed.speakers)
            assert all(name.isprintable() for name in (*listed.speakers, *listed.paths.to_pylist()))

    tries(number, drawn, read)


def test_an_odd_manifest_in_parquet_is_read_or_refused_with_one_line(tmp_path, tries):
    for name in ("a.flac", "b.wav"):
        (tmp_path / name).touch()
    table = pyarrow.csv.read_csv(io.BytesIO(MANIFEST))
    file = Rewritten(tmp_path / "m.parquet")

    def read(change):
        content = parquet(odd_table(table, change))
        if content is None:
            return False
        file.put(content)
        return attempt(manifest.index, file.path)

    tries(2000, CHANGE, read)


@pytest.fixture
def clips(data, tmp_path):
    """The folder of clips, its description, and what rewrites its files."""
    folder = tmp_path / "clips"
    folder.mkdir()
    write(data, folder, ["data=folder"], 1)
    return folder, json.loads((folder / "clips.json").read_text()), Rewritten(folder / "clips.json")


def use(folder: Path) -> None:
    """Open and verify clips, and read one of each split."""
    opened = WavFolder(folder)
    opened.verify(MIX, RATE)
    for split in SPLITS:
        assert opened.plans[split].count.max() <= max(MIX.counts)
        assert opened.read(split, 0).shape == (RATE,)


@pytest.mark.parametrize(
    ("number", "odd"),
    [
        (3000, lambda description, change: json.dumps(odd_tree(description, change))),
        (2500, lambda description, change: odd_bytes(json.dumps(description).encode(), change)),
    ],
    ids=["values", "bytes"],
)
def test_an_odd_description_of_clips_is_read_or_refused_with_one_line(clips, tries, number, odd):
    folder, description, file = clips

    def read(change):
        file.put(odd(description, change))
        attempt(use, folder)

    tries(number, CHANGE, read)


def test_odd_metadata_of_clips_are_read_or_refused_with_one_line(clips, tries):
    """Their hash is right: another program wrote them."""
    folder, description, file = clips
    table = pq.read_table(folder / "metadata_train.parquet")
    metadata = Rewritten(folder / "metadata_train.parquet")

    def read(change):
        content = parquet(odd_table(table, change))
        if content is None:
            return False
        metadata.put(content)
        sha256 = {**description["metadata"], metadata.path.name: hashlib.sha256(content).hexdigest()}
        file.put(json.dumps({**description, "metadata": sha256}))
        return attempt(use, folder)

    tries(2000, CHANGE, read)


@pytest.mark.parametrize("name", ["metadata_train.parquet", "metadata_test.csv"])
def test_altered_metadata_of_clips_are_refused_with_one_line(clips, tries, name):
    folder = clips[0]
    content, file = (folder / name).read_bytes(), Rewritten(folder / name)

    def read(change):
        altered = odd_bytes(content, change)
        file.put(altered)
        assert attempt(WavFolder, folder) is None or altered == content

    tries(2000, CHANGE, read)


def draw(folder: Path) -> None:
    """Open and verify a pool, and plan clips from it."""
    opened = Pool(folder)
    opened.verify(again=True)
    assert opened.utterances.dtype == np.dtypes.StringDType()
    made = ClipDataModule("folder", str(folder), str(folder), MIX, pool=folder)
    made.setup()
    made.clips["train"].plan(0, 3)


@pytest.mark.parametrize(
    ("number", "odd"),
    [
        (2000, lambda description, change: json.dumps(odd_tree(description, change))),
        (2000, lambda description, change: odd_bytes(json.dumps(description).encode(), change)),
    ],
    ids=["values", "bytes"],
)
def test_an_odd_description_of_a_pool_is_read_or_refused_with_one_line(data, tries, number, odd):
    folder = data.pool.path
    description = json.loads((folder / "pool.json").read_text())
    recorded = {"corpus_sha256": data.pool.sha256, "samples_sha256": data.pool.samples_sha256}
    file = Rewritten(folder / "pool.json")

    def read(change):
        file.put(odd(description, change))
        attempt(draw, folder)
        assert pool.find(data.cache, recorded) in (folder, None)

    tries(number, CHANGE, read)


def test_an_odd_index_of_a_pool_is_read_or_refused_with_one_line(data, tries):
    """Its hash is right: another program wrote it."""
    folder = data.pool.path
    description, table = json.loads((folder / "pool.json").read_text()), pq.read_table(folder / "index.parquet")
    file, index = Rewritten(folder / "pool.json"), Rewritten(folder / "index.parquet")

    def read(change):
        content = parquet(odd_table(table, change))
        if content is None:
            return False
        index.put(content)
        file.put(json.dumps({**description, "index_sha256": hashlib.sha256(content).hexdigest()}))
        return attempt(draw, folder)

    tries(1500, CHANGE, read)


def test_an_altered_index_of_a_pool_is_refused_with_one_line(data, tries):
    folder = data.pool.path
    content, index = (folder / "index.parquet").read_bytes(), Rewritten(folder / "index.parquet")

    def read(change):
        altered = odd_bytes(content, change)
        index.put(altered)
        assert attempt(Pool, folder) is None or altered == content

    tries(1500, CHANGE, read)


@pytest.mark.parametrize("name", ["pool.json", "clips.json"])
def test_a_list_as_deep_as_memory_is_refused_with_one_line(data, tmp_path, name):
    folder = data.pool.path if name == "pool.json" else tmp_path
    (folder / name).write_text("[" * 200_000)
    assert attempt(draw if name == "pool.json" else use, folder) is None
    assert pool.find(data.cache, {"corpus_sha256": data.pool.sha256}) is None or name == "clips.json"
