"""A trained net as one ONNX file."""

import json
import re
import shutil
import sys

import numpy as np
import pytest
import soundfile
import torch

import speaker_count
from speaker_count.inference import page
from speaker_count.inference.session import OUTPUT, Session
from speaker_count.sweeping import exporting


@pytest.fixture(scope="module")
def exported(finished_sweep, tmp_path_factory):
    """A copy of a finished run of m5, with its ONNX file; not to be changed."""
    run = shutil.copytree(next(finished_sweep.glob("m5-*")), tmp_path_factory.mktemp("runs") / "mine")
    content = exporting.onnx_of(speaker_count.load_run(run))
    (run / "mine.onnx").write_bytes(content)
    return run


def test_a_run_s_onnx_file_gives_what_the_run_gives_in_batches_of_any_size(exported):
    run, session = speaker_count.load_run(exported), Session(exported / "mine.onnx")
    clips = np.random.default_rng(0).normal(0, 0.1, (37, 16_000)).astype(np.float32)
    for batch in (1, 2, 37):
        np.testing.assert_allclose(session.probabilities(clips[:batch]), run.predict(clips[:batch]), atol=1e-5)
    assert session.probabilities(clips[:0]).shape == (0, 3)
    assert session.over_time == OUTPUT  # m5 has no time steps
    assert (session.described.counts, session.described.labels) == (run.counts, run.labels)
    assert (session.described.sample_rate, session.described.clip_samples) == (16_000, 16_000)
    assert session.described.identity == run.result.identity
    assert re.fullmatch("[0-9a-f]{64}", session.described.sha256)
    assert str(exported.parent).encode() not in (exported / "mine.onnx").read_bytes()  # nor other places of a machine
    assert b"site-packages" not in (exported / "mine.onnx").read_bytes()


def test_the_command_compares_before_it_writes_and_replaces_only_by_force(verb, exported, tmp_path):
    run = shutil.copytree(exported, tmp_path / "mine")
    code, _, err = verb("export", run)
    assert (code, len(err.splitlines())) == (2, 1)
    assert "mine.onnx exists: name another file, or give force=true" in err
    code, out, err = verb("export", run, "force=true")
    assert code == 0, err
    first, second = out.splitlines()[-2:]
    match = re.match(r"compared with the net on 48 clips: largest difference of a probability (\S+), the same", first)
    assert float(match[1]) < 1e-4
    assert second.endswith("(0.15 MB, opset 18)")
    assert (run / "mine.onnx").read_bytes() == (exported / "mine.onnx").read_bytes()  # the same net, the same bytes


def test_a_file_that_gives_other_probabilities_is_not_written(verb, exported, tmp_path, monkeypatch):
    run = shutil.copytree(exported, tmp_path / "mine")
    right = exporting.folded

    def wrong(net):
        net = right(net)
        with torch.no_grad():
            net.net.classifier.bias[0] += 0.01
        return net

    monkeypatch.setattr(exporting, "folded", wrong)
    code, _, err = verb("export", run, "other.onnx")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "gives other probabilities than the net, by up to 0.00" in err
    assert not (tmp_path / "other.onnx").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere"], "nowhere is neither a run's folder nor the name of packaged weights"),
        (["m5", "out.txt"], "the name of an ONNX file ends with .onnx"),
        (["m5"], "is not among your pools: name it with data.root=, or other speech with data=NAME"),
    ],
)
def test_what_cannot_be_exported_is_one_line(verb, tmp_path, monkeypatch, words, says):
    monkeypatch.setenv("LIBRISPEECH", str(tmp_path / "none"))
    monkeypatch.setenv("SPEAKER_COUNT_CACHE", str(tmp_path / "pools"))
    code, _, err = verb("export", *words)
    assert (code, len(err.splitlines())) == (2, 1)
    assert says in err


def test_without_the_packages_it_says_which(verb, exported, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    code, _, err = verb("export", shutil.copytree(exported, tmp_path / "mine"), "x.onnx")
    assert (code, err) == (2, "an export needs onnx, which is not installed: pip install 'speaker-count[export]'\n")


def test_recordings_are_counted_by_the_exported_net(verb, exported, tmp_path):
    soundfile.write(tmp_path / "x.wav", np.random.default_rng(0).normal(0, 0.1, 32_000), 16_000)
    code, out, err = verb("predict", "x.wav", "--run", exported, "--no-smooth", "--format", "json")
    assert code == 0, err
    clips = np.lib.stride_tricks.sliding_window_view(soundfile.read(tmp_path / "x.wav", dtype="float32")[0], 16_000)
    expected = speaker_count.load_run(exported).predict(clips[::4000].copy())
    np.testing.assert_allclose(np.array(json.loads(out)["probabilities"])[:, 1:], expected, atol=2e-4)


@pytest.mark.parametrize("has_file", [False, True])
def test_a_finished_run_counts_without_an_export_before_and_its_folder_stays_as_it_is(
    verb, exported, tmp_path, monkeypatch, has_file
):
    soundfile.write(tmp_path / "x.wav", np.random.default_rng(0).normal(0, 0.1, 32_000), 16_000)
    run = shutil.copytree(exported, tmp_path / "mine")
    if has_file:
        monkeypatch.setattr(exporting, "onnx_of", None)
    else:
        (run / "mine.onnx").unlink()
    before = {path: path.stat().st_mtime_ns for path in [run, *run.rglob("*")]}
    for files in ("COPIED", "KEPT", "NAMES"):  # without onnxruntime for browsers, which a checkout may lack
        monkeypatch.setattr(page, files, tuple(name for name in getattr(page, files) if name not in page.RUNTIME))
    monkeypatch.setattr(page, "RUNTIME", ())
    expected = speaker_count.predict(tmp_path / "x.wav", model=exported / "mine.onnx")
    code, out, err = verb("predict", "x.wav", "--run", run, "--format", "json")
    assert (code, err) == (0, "")
    assert json.loads(out) | {"file": ""} == expected.to_dict() | {"file": ""}
    code, out, err = verb("listen", "--from-file", "x.wav", "--fast", "--run", run)
    assert (code, err) == (0, "")
    assert "listened for 0:02" in out
    code, _, err = verb("web", "page", "--run", run)
    assert (code, err) == (0, "")
    assert (tmp_path / "page" / "net.onnx").read_bytes() == (exported / "mine.onnx").read_bytes()
    assert {path: path.stat().st_mtime_ns for path in [run, *run.rglob("*")]} == before


@pytest.mark.parametrize(("lacking", "extras"), [("torch", "train,export"), ("onnx", "export")])
def test_without_a_package_a_run_without_its_file_is_one_line(verb, exported, tmp_path, monkeypatch, lacking, extras):
    run = shutil.copytree(exported, tmp_path / "mine")
    (run / "mine.onnx").unlink()
    for name in [name for name in sys.modules if name.startswith(("speaker_count.loading", "speaker_count.sweeping"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(speaker_count, "loading")
    monkeypatch.setitem(sys.modules, lacking, None)
    code, out, err = verb("predict", "x.wav", "--run", run)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.endswith(f" needs {lacking}, which is not installed: pip install 'speaker-count[{extras}]'\n")
