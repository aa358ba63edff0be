"""Clips as files, and `speaker-count clips`: written, killed and resumed, repaired, refused; and training from them."""

import csv
import hashlib
import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import torch

from speaker_count.data import mixing
from speaker_count.data.wav_folder import WavFolder
from speaker_count.data.wav_writer import claimed, write
from speaker_count.errors import UserError
from speaker_count.labels import SEXES, SPLITS
from tests.conftest import RATE, SMALL, mix_of

METADATA = [f"metadata_{split}.{suffix}" for split in SPLITS for suffix in ("parquet", "csv")]
PAPER = {"train": "Audio_Train", "validation": "Audio_Validation", "test": "Audio_Test"}


@pytest.fixture(scope="module")
def whole(make_data, tmp_path_factory) -> Path:
    """A folder of clips of the small tree; not to be changed."""
    folder = tmp_path_factory.mktemp("clips")
    with claimed(folder):
        write(make_data(), folder, ["data=folder"], 2)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def test_the_files_are_the_clips_that_training_streams(verb, make_data, real_speech, tmp_path):
    clips = {"train": 60, "validation": 24, "test": 30}
    given = [f"mix.clips.{split}={number}" for split, number in clips.items()]
    sample = ("data=librispeech_sample", f"data.root={real_speech}")
    code, out, err = verb("clips", *sample, "mix=level_blind", *given, "out=files", "workers=2")
    assert code == 0, err
    assert "114 clips in files: 114 written" in out
    files = {f"{PAPER[split]}{index}.wav" for split, number in clips.items() for index in range(number)}
    assert set(contents(tmp_path / "files")) == {*files, *METADATA, "clips.json"}

    mix = mix_of(**clips, gain_db=(-5, 5), level_db=-26)
    data = make_data(
        real_speech, mix, source="librispeech", train_subsets=["train-clean-100"], utterance_list="librispeech_sample"
    )
    loaders = {"train": data.train_dataloader(), "validation": data.val_dataloader()[0], "test": data.test_dataloader()}
    for split, loader in loaders.items():
        seen = 0
        for batch in loader:
            for index, waveform in zip(batch["index"].tolist(), batch["waveform"].numpy(), strict=True):
                path = tmp_path / "files" / f"{PAPER[split]}{index}.wav"
                samples, rate = soundfile.read(path, dtype="int16")
                info = soundfile.info(path)
                assert (rate, info.channels, info.subtype, info.format) == (RATE, 1, "PCM_16", "WAV")
                assert np.array_equal(samples, waveform)
                assert path.read_bytes()[44:] == waveform.tobytes()
                seen += 1
        assert seen == clips[split]
        rows = pq.read_table(tmp_path / "files" / f"metadata_{split}.parquet").to_pylist()
        mixture = mixing.mix(data.pool, data.clips[split].plan())
        assert np.array_equal([row["scale"] for row in rows], mixture.scale)  # only rendering computes it
        assert len({row["scale"] for row in rows}) > 1
        assert [row["clipped"] for row in rows] == mixture.clipped.tolist()


def test_the_metadata_say_where_each_clip_comes_from(whole, make_data):
    data = make_data()
    for split in SPLITS:
        plan = data.clips[split].plan()
        table = pq.read_table(whole / f"metadata_{split}.parquet")
        rows = table.to_pylist()
        read = list(csv.DictReader((whole / f"metadata_{split}.csv").open()))
        assert len(rows) == len(read) == len(plan)
        assert list(read[0]) == table.column_names
        for index, (row, text) in enumerate(zip(rows, read, strict=True)):
            count = int(plan.count[index])
            sexes = "".join(SEXES[sex] for sex in plan.sexes[index, :count])
            assert row["Waveform"] == f"{PAPER[split]}{index}.wav"
            assert (row["Speakers"], row["Speakers_Class"]) == (count, count - 1)
            assert row["Speakers Sex"] == "".join(sorted(sexes, reverse=True))
            assert (row["F"], row["M"]) == (sexes.count("F"), sexes.count("M"))
            assert row["sexes"] == sexes
            assert row["speaker_ids"] == data.pool.speakers[plan.speakers[index, :count]].tolist()
            assert row["utterances"] == data.pool.utterances[plan.utterances[index, :count]].tolist()
            assert row["starts"] == plan.starts[index, :count].tolist()
            assert row["activity"] == plan.activity[index, :count].tolist()
            assert (row["gains"], row["scale"], row["clipped"]) == ([1] * count, 1, 0)
            assert row["sha256"] == hashlib.sha256((whole / row["Waveform"]).read_bytes()).hexdigest()
            for name, value in row.items():
                if isinstance(value, list):
                    fields = text[name].split(" ")
                    assert [type(item)(field) for item, field in zip(value, fields, strict=True)] == pytest.approx(
                        value
                    )
                else:
                    assert type(value)(text[name]) == value
    assert {row["Speakers Sex"] for row in rows} == {"M", "F", "MM", "MF", "FF", "MMM", "MMF", "MFF", "FFF"}


def test_a_class_is_the_place_among_the_counts(make_data, tmp_path):
    write(make_data(mix=mix_of(counts=(2, 5))), tmp_path, [], 1)
    table = pq.read_table(tmp_path / "metadata_test.parquet")
    assert set(zip(table["Speakers"].to_pylist(), table["Speakers_Class"].to_pylist(), strict=True)) == {(2, 0), (5, 1)}


def test_killed_anywhere_it_resumes_and_ends_with_the_same_folder(whole, tree, cache, make_data, tmp_path):
    # of the 200 files that are put in place: clips.json, clips, metadata, clips.json
    points = [1, 2, 60, 160, 199, 200]
    script = f"""
        import os, signal
        from pathlib import Path
        from speaker_count.data.wav_writer import claimed, write
        from tests.conftest import ClipDataModule, mix_of

        def replace_or_die(*paths):
            if next(calls) == point:
                os.kill(os.getpid(), signal.SIGKILL)
            put_in_place(*paths)

        data = ClipDataModule("folder", {str(tree)!r}, {str(cache)!r}, mix_of())
        data.setup()
        put_in_place, os.replace = os.replace, replace_or_die
        for point in {points}:
            calls = iter(range(1, 1000))
            folder = Path({str(tmp_path)!r}, f"killed-{{point}}")
            if os.fork() == 0:
                with claimed(folder):
                    write(data, folder, ["data=folder"], 2)
                os._exit(0)
            assert os.wait()[1] == signal.SIGKILL
    """
    child = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    for point in points:
        folder = tmp_path / f"killed-{point}"
        assert any(path.name.endswith(".partial") for path in folder.iterdir())
        with pytest.raises(UserError, match=r"holds no clips" if point == 1 else r"not hold all of its clips yet"):
            WavFolder(folder)
        with claimed(folder):
            written = write(make_data(), folder, ["data=folder"], 2)
        assert contents(folder) == contents(whole)
        assert (written == 192) == (point <= 2)
        assert (written == 0) == (point >= 199)


def test_intact_files_are_kept_and_the_others_are_repaired(verb, whole, tree, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "folder")
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("[A-Zm]*")}
    (folder / "Audio_Train7.wav").unlink()
    (folder / "metadata_test.csv").unlink()
    (folder / "Audio_Test0.wav").write_bytes((folder / "Audio_Test1.wav").read_bytes())
    with open(folder / "Audio_Validation3.wav", "r+b") as file:
        file.truncate(1000)
    with open(folder / "metadata_train.parquet", "ab") as file:
        file.write(b"more")
    clips = ("clips", *SMALL[:4], f"data.root={tree}", f"out={folder}")
    code, out, err = verb(*clips)
    assert code == 0, err
    assert "3 written, 189 kept" in out
    repaired = {
        *("Audio_Train7.wav", "Audio_Test0.wav", "Audio_Validation3.wav", "metadata_test.csv", "metadata_train.parquet")
    }
    for path in folder.glob("[A-Zm]*"):
        assert path.read_bytes() == (whole / path.name).read_bytes()
        assert (path.stat().st_mtime_ns != before[path.name]) == (path.name in repaired), path.name


def test_training_from_the_files_is_training_from_the_corpus(verb, tree, tmp_path):
    mix = (*SMALL[1:4], "mix=level_blind")
    assert verb("clips", "data=folder", f"data.root={tree}", *mix, "out=files")[0] == 0
    runs = {}
    for name, root in (("folder", tree), ("clips", "files")):
        run = ("train", "model=m3", f"data={name}", f"data.root={root}", *mix, "trainer.max_epochs=2")
        code, out, err = verb(*run, "logger=csv", f"hydra.run.dir={name}")
        assert code == 0, out + err
        runs[name] = tmp_path / name
    results = [json.loads((run / "result.json").read_text()) for run in runs.values()]
    same = ("last", "best", "validation_sha256", "test_sha256", "mix", "net", "parameters", "epochs")
    assert [results[0][key] for key in same] == [results[1][key] for key in same]
    for key in ("corpus_sha256", "speakers"):
        assert results[0]["data"][key] == results[1]["data"][key]
    tables = [pq.read_table(run / "predictions.parquet") for run in runs.values()]
    assert tables[0].equals(tables[1])
    weights = [torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for run in runs.values()]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])

    evaluated = verb("evaluate", "folder", "data=clips", "data.root=files")
    assert evaluated[0] == 0, evaluated
    (evaluation,) = (runs["folder"] / "evaluations").glob("*.json")
    assert json.loads(evaluation.read_text())["test"] == results[0]["last"]["test"]


def test_a_folder_of_other_files_or_of_other_clips_is_left_alone(verb, whole, tree, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.tex").write_text("years of work")
    other = shutil.copytree(whole, tmp_path / "other")
    damaged = shutil.copytree(whole, tmp_path / "damaged")
    (damaged / "clips.json").write_text('{"schema":')
    (tmp_path / "file").write_text("in the way")
    before = {folder: contents(tmp_path / folder) for folder in ("own", "other", "damaged")}
    given = ("clips", *SMALL[:4], f"data.root={tree}")
    for arguments, says in (
        ((*given, "out=own"), "own holds other files than clips (thesis.tex); name another folder"),
        ((*given, "out=other", "mix.seed=1"), "other holds other clips: mix.seed is 0, not 1; name another folder"),
        ((*given, "out=damaged"), "clips.json is damaged"),
        ((*given, "out=file"), "cannot write the clips to file"),
        (given, "out=DIR"),
        ((*given, "out="), "out=DIR"),
        ((*given, "out=new", "workers=none"), "workers=none: expected a whole number"),
        ((*given, "out=new", "mix.fresh_each_epoch=true"), "give mix.fresh_each_epoch=false"),
        (("clips", "data=clips", f"data.root={other}", "out=new"), "already consists of clips in files"),
        (("prepare", "data=clips", f"data.root={other}"), "needs no preparation"),
        (("train", "data=clips"), "data=clips needs data.root=DIR"),
    ):
        code, _, err = verb(*arguments)
        assert code == 2, (arguments, err)
        assert says in err
        assert err.count("\n") == 1
    assert {folder: contents(tmp_path / folder) for folder in before} == before
    assert not (tmp_path / "new").exists()


def test_two_processes_do_not_write_to_one_folder(verb, tree, tmp_path):
    with claimed(tmp_path / "busy"):
        code, _, err = verb("clips", *SMALL[:4], f"data.root={tree}", "out=busy")
    assert code == 2
    assert "another process is writing clips to busy" in err
