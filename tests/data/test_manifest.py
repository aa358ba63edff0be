"""Corpora of any tree and any audio, by a manifest."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import soundfile

from speaker_count.compose import compose
from speaker_count.data import manifest, pool_builder
from speaker_count.data.pool import Pool
from speaker_count.errors import UserError
from speaker_count.labels import SEXES, SPLITS
from tests.conftest import RATE, REPOSITORY, mix_of

SECONDS = 1.5
LAST = [f"{number:02}" for number in range(24)]


def hum(number, rate=RATE, seconds=SECONDS, channels=1):
    """A voice of its own pitch, `(samples,)` or `(samples, channels)` floats."""
    wave = 0.3 * np.sin(2 * np.pi * (150 + 10 * number) * np.arange(round(rate * seconds)) / rate)
    return wave if channels == 1 else np.stack([wave] * channels, axis=1)


@pytest.fixture
def rows(tmp_path):
    """24 speakers, half of each sex, with a file each in a tree of no known layout."""
    (tmp_path / "any where").mkdir()
    made = []
    for number, name in enumerate(LAST):
        path = f"any where/{name}.flac"
        soundfile.write(tmp_path / path, hum(number), RATE)
        made.append({"path": path, "speaker": f"s{name}", "sex": "FM"[number % 2]})
    return made


@pytest.fixture
def written(tmp_path, rows):
    """Writes the rows, changed, and returns the manifest's path."""

    def write(made=rows, name="m.csv", **columns):
        table = pa.Table.from_pylist(
            [{**row, **{key: value[n] for key, value in columns.items()}} for n, row in enumerate(made)]
        )
        (pq.write_table if name.endswith("parquet") else pyarrow.csv.write_csv)(table, tmp_path / name)
        return tmp_path / name

    return write


def test_a_csv_and_a_parquet_file_in_any_order_give_the_same_pool(written, rows, tmp_path, make_data):
    first = make_data(written(), source="manifest")
    assert first.pool.utterances.tolist() == [row["path"] for row in rows]
    assert first.pool.speakers.tolist() == [row["speaker"] for row in rows]
    assert [SEXES[sex] for sex in first.pool.sexes] == ["F", "M"] * 12
    assert np.bincount(first.pool.splits).tolist() == [12, 6, 6]
    again = make_data(written(rows[::-1], "other.parquet"), source="manifest")
    assert again.pool.path == first.pool.path
    assert again.clips["test"].render(again.clips["test"].plan(0, 3)).any()


def test_a_column_decides_the_splits(written, make_data):
    splits = ["train", "dev", "TEST", "validation"] * 6
    data = make_data(written(split=splits), source="manifest", mix=mix_of(counts=(1, 2)))
    expected = [{"dev": "validation", "TEST": "test"}.get(split, split) for split in splits]
    assert [SPLITS[split] for split in data.pool.splits] == expected


def test_utterances_may_be_parts_of_files(tmp_path, written, make_data):
    rate = 22_050
    long = np.concatenate([hum(number, rate) for number in range(24)])
    soundfile.write(tmp_path / "show.wav", long, rate)
    made = [
        {"path": "show.wav", "speaker": f"s{number:02}", "start": number * SECONDS, "end": (number + 1) * SECONDS}
        for number in range(24)
    ]
    made[23]["end"] = None  # to the end of the file
    data = make_data(written(made), source="manifest", resample=True)
    pool = data.pool
    assert pool.utterances[:2].tolist() == ["show.wav@0-1.5", "show.wav@1.5-3"]
    assert pool.frames.tolist() == [24_000] * 24
    for row in range(24):
        samples = pool.samples[pool.offsets[row] : pool.offsets[row] + pool.frames[row]][2000:-2000]
        assert abs(np.abs(np.fft.rfft(samples)).argmax() * RATE / len(samples) - (150 + 10 * row)) < 1
    made[5]["end"] = 60.0
    data = make_data(written(made), source="manifest", resample=True)
    assert [entry["reason"] for entry in data.pool.damaged] == [
        "its part from 7.5 to 60 s is not in it: it has 36.00 s"
    ]


@pytest.mark.parametrize(("kind", "rate", "channels"), [
    ("wav", 8000, 1), ("flac", 44_100, 2), ("ogg", 48_000, 1), ("opus", 48_000, 2), ("mp3", 44_100, 1),
    ("wav", 192_000, 7),
])  # fmt: skip
def test_any_audio_is_resampled_and_mixed_down(written, rows, tmp_path, make_data, caplog, kind, rate, channels):
    caplog.set_level("INFO")
    for number, row in enumerate(rows[:10]):
        row["path"] = f"{number}.{rate}.{kind}"
        soundfile.write(
            tmp_path / row["path"], hum(number, rate, channels=channels), rate, format="OGG" if kind == "opus" else None
        )
    path = written(rows)
    pool = make_data(path, source="manifest", resample=True).pool
    assert not pool.damaged
    for row, name in enumerate(pool.utterances.tolist()):
        if f".{rate}." in name:
            samples = pool.samples[pool.offsets[row] : pool.offsets[row] + pool.frames[row]]
            assert len(samples) == 24_000
            expected = hum(int(name.split(".")[0])) * 32_768
            error = (samples - expected)[2000:-2000].std() / expected.std()
            assert error < (0.001 if kind in ("wav", "flac") else 0.3), name
    (said,) = [message for message in caplog.messages if message.startswith(("resampled", "mixed"))]
    assert said.startswith(f"resampled 10 of 24 files from {rate:,} Hz")
    assert ("mixed 10 of 24 files down to one channel" in said) == (channels > 1)
    with pytest.raises(UserError, match=r"10 of the 24 utterances .* convert them with data\.resample=true"):
        make_data(path, source="manifest")


def test_files_that_are_right_already_keep_their_exact_samples(written, tmp_path, make_data):
    path = written()
    converting, strict = (make_data(path, source="manifest", resample=each).pool for each in (True, False))
    assert converting.path != strict.path
    assert (converting.sha256, converting.samples_sha256) == (strict.sha256, strict.samples_sha256)


def test_what_is_no_speech_is_left_out_with_its_reason(written, rows, tmp_path, make_data):
    rows += [{"path": f"{name}.wav", "speaker": "s00", "sex": "F"} for name in ("hertz", "nan", "none")]
    soundfile.write(tmp_path / "hertz.wav", np.zeros(9), 1)
    soundfile.write(tmp_path / "nan.wav", np.where(np.arange(RATE) == 99, np.nan, 0.1), RATE, subtype="FLOAT")
    damaged = make_data(written(rows), source="manifest", resample=True).pool.damaged
    assert damaged == [
        {"path": "hertz.wav", "reason": "1 Hz; only 8,000 to 192,000 Hz are resampled"},
        {"path": "nan.wav", "reason": "some of its samples are infinite or not numbers"},
        {"path": "none.wav", "reason": "does not exist"},
    ]


def test_columns_that_are_not_known_are_named_and_ignored(written, caplog):
    caplog.set_level("INFO")
    manifest.index(written(age=[30] * 24, accent=["none"] * 24))
    assert "columns that are ignored: age, accent" in caplog.text


BAD = {
    "no speaker column": (lambda rows: [row.pop("speaker") for row in rows], "has no column speaker: it needs path"),
    "no path": (lambda rows: rows[3].update(path=None), "row 4 has no path (speaker s03, sex M)"),
    "a speaker in two splits": (
        lambda rows: [row.update(split="test" if n else "train", speaker="same", sex="") for n, row in enumerate(rows)],
        "has speaker same in the train and the test split; no speaker may be in two",
    ),
    "two sexes": (lambda rows: rows[1].update(speaker="s00"), "lists speaker s00 as F and as M"),
    "a row without a split": (
        lambda rows: [row.update(split="train" if n else None) for n, row in enumerate(rows)],
        "row 1 has no split",
    ),
    "another split": (lambda rows: [row.update(split="eval") for row in rows], "the split 'eval': expected train, v"),
    "missing files": (
        lambda rows: [row.update(path=f"gone/{row['path']}") for row in rows[:5]],
        "5 of the 24 files in the manifest",
    ),
    "a file twice": (lambda rows: rows[2].update(path=rows[4]["path"]), "any where/04.flac more than once"),
    "an end before its start": (
        lambda rows: [row.update(start=2.0, end=1.0) for row in rows],
        "row 1 ends before it starts (path any where/00.flac",
    ),
    "a negative start": (lambda rows: [row.update(start=-2.0) for row in rows], "row 1 has a negative start"),
    "no number": (lambda rows: [row.update(start="soon") for row in rows], "conversion error to double"),
    "an infinite end": (lambda rows: [row.update(end=float("inf")) for row in rows], "end that is no number of"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_in_a_manifest_is_one_line(written, rows, verb, name):
    change, says = BAD[name]
    change(rows)
    path = written(rows)
    code, _, err = verb("prepare", "data=manifest", f"data.root={path}")
    assert code == 2
    (line,) = [line for line in err.splitlines() if "ignored" not in line]
    assert says in line
    assert str(path) in line


def test_what_is_no_manifest_is_one_line(verb, tmp_path, monkeypatch, tree):
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "header.csv").write_text("path,speaker\n")
    (tmp_path / "twice.csv").write_text("path,path,speaker\na,b,c\n")
    (tmp_path / "words.parquet").write_text("no table")
    monkeypatch.setenv("LIBRISPEECH", str(tree))
    for arguments, says in (
        (["data.root=nowhere.csv"], "nowhere.csv does not exist: data.root=FILE names a manifest"),
        ([f"data.root={tree}"], "is a folder: data.root=FILE names a manifest"),
        (["data.root=empty.csv"], "cannot read the manifest empty.csv"),
        (["data.root=header.csv"], "the manifest header.csv has no rows"),
        (["data.root=twice.csv"], "has a column twice"),
        (["data.root=words.parquet"], "cannot read the manifest words.parquet"),
        ([], "data=manifest needs data.root=FILE, a manifest: CSV or Parquet with path and speaker"),
        (["data=folder"], "data=folder needs data.root=DIR, a folder in LibriSpeech's layout"),
        (["data.source=fairy"], "data.source=fairy: expected one of librispeech, folder, manifest, demo, clips"),
        (["+data.train_subsets=[a]", "data.root=header.csv"], "has no key data.train_subsets"),
    ):
        code, _, err = verb("prepare", "data=manifest", *arguments)
        assert (code, len(err.splitlines())) == (2, 1), (arguments, err)
        assert says in err


@pytest.mark.parametrize(("root", "source", "name"), [
    ("/a/cv/validated.csv", "manifest", "manifest-validated"),
    ("/a/cv en/manifest.csv", "manifest", "manifest-cv_en"),
    ("/a/corpus.v2/", "folder", "folder-corpus.v2"),
    ("/", "folder", "folder-corpus"),
    ("/a/${x}/'ü'.parquet", "manifest", "manifest-corpus"),
])  # fmt: skip
def test_corpora_of_one_s_own_have_folders_of_their_own(root, source, name):
    config = compose([f"data={source}"], with_hydra=True)
    config.data.root = root.replace("${x}", "x")
    assert config.data.name == name
    assert config.hydra.run.dir.startswith(f"multirun/single-{name}-paper/m5-seed0")
    assert config.hydra.sweep.dir == f"multirun/default-{name}-paper"


@pytest.fixture(scope="session")
def speechocean():
    path = REPOSITORY.parent / "shared" / "speechocean-sample" / "manifest.csv"
    if not path.is_file():
        pytest.skip(f"no speech by a manifest: {path} does not exist")
    return path


def test_real_speech_in_a_layout_of_its_own(speechocean, make_data):
    data = make_data(speechocean, source="manifest", resample=True)
    assert len(data.pool.speakers) == 67
    assert np.bincount(data.pool.sexes).tolist() == [41, 26]
    assert data.speakers() == {"train": 47, "validation": 10, "test": 10}
    assert not data.pool.damaged
    listed = manifest.index(speechocean)
    assert Pool(pool_builder.build(listed, data.cache, RATE)).samples_sha256 == data.pool.samples_sha256


def test_a_net_trains_on_it_and_is_evaluated_on_it(speechocean, command, tmp_path):
    sizes = [f"mix.clips.{split}=96" for split in SPLITS]
    done = command(
        "train", "data=manifest", f"data.root={speechocean}", "model=m3", *sizes, "trainer.max_epochs=2", "logger=csv"
    )
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "multirun" / "single-manifest-speechocean-sample-paper").glob("m3-seed0-*")
    for arguments in ([], ["data=manifest", f"data.root={speechocean}", "mix.clips.test=48"]):
        done = command("evaluate", run, *arguments)
        assert done.returncode == 0, done.stderr
    assert len(list((run / "evaluations").glob("manifest-speechocean-sample-paper*.json"))) == 2
