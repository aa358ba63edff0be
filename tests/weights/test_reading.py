"""The packaged weights, and weights from anywhere."""

import hashlib
import json
import os
import shutil

import numpy as np
import pytest
import safetensors.torch
import torch

import speaker_count
from speaker_count import weights
from speaker_count.errors import UserError
from speaker_count.weights.reading import Weights


@pytest.mark.parametrize("name", weights.names())
def test_packaged_weights_are_small_and_ready_to_count(name):
    run = speaker_count.load_run(name)
    noise = np.random.default_rng(0).integers(-3000, 3000, (3, run.clip_samples)).astype(np.int16)
    probabilities = run.predict(noise)
    assert probabilities.shape == (3, len(run.counts))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert run.result.sha256 == hashlib.sha256((weights.FOLDER / f"{name}.safetensors").read_bytes()).hexdigest()
    assert all((weights.FOLDER / f"{name}{ending}").stat().st_size <= 4e6 for ending in (".safetensors", ".json"))
    calibration = run.result.calibration
    assert calibration["after"]["loss"] <= calibration["before"]["loss"]


def test_there_are_the_paper_s_net_and_the_one_to_use():
    assert weights.names() == ["m5", "recommended"]
    assert speaker_count.load_run("m5").counts == [1, 2, 3]
    assert speaker_count.load_run("recommended").counts == [0, 1, 2, 3]


def test_a_name_is_no_folder_and_a_folder_is_no_name(finished_sweep, tmp_path, monkeypatch):
    run = next(finished_sweep.glob("m3-*"))
    shutil.copytree(run, tmp_path / "m5")
    monkeypatch.chdir(tmp_path)
    assert speaker_count.load_run("m5").result.model == "m5"
    assert speaker_count.load_run("./m5").result.model == "m3"
    assert speaker_count.load_run(tmp_path / "m5").result.model == "m3"
    with pytest.raises(UserError, match=r"m6 is neither a run's folder nor .* \(m5, recommended\)"):
        speaker_count.load_run("m6")
    with pytest.raises(UserError, match="only the weights after the last epoch"):
        speaker_count.load_run("m5", checkpoint="best")


@pytest.fixture
def pair(tmp_path):
    """The JSON file of a copy of weights."""
    for ending in (weights.TENSORS, weights.DESCRIPTION):
        shutil.copy(weights.FOLDER / f"m5{ending}", tmp_path / f"mine{ending}")
    return tmp_path / "mine.json"


@pytest.mark.parametrize("ending", [".json", ".safetensors"])
def test_either_file_names_weights(pair, ending):
    run, packaged = speaker_count.load_run(pair.with_suffix(ending)), speaker_count.load_run("m5")
    clip = np.arange(run.clip_samples, dtype=np.int16)
    np.testing.assert_array_equal(run.predict(clip), packaged.predict(clip))


def said(pair, **changes):
    pair.write_text(json.dumps({**json.loads(pair.read_text()), **changes}))


def held(pair, change):
    """Other tensors, or bytes, that are described rightly."""
    path = pair.with_suffix(".safetensors")
    tensors = change(safetensors.torch.load_file(path))
    content = tensors if isinstance(tensors, bytes) else safetensors.torch.save(tensors)
    path.write_bytes(content)
    said(pair, sha256=hashlib.sha256(content).hexdigest())


def of_each(change):
    return lambda pair: held(pair, lambda tensors: {name: change(tensor) for name, tensor in tensors.items()})


def linked(pair, target):
    pair.unlink()
    pair.symlink_to(target)


def piped(path):
    path.unlink()
    os.mkfifo(path)


def unlike(pair, content):
    pair.with_suffix(".safetensors").write_bytes(content)


HEADER = (10**15).to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
HOSTILE = {
    "no JSON": (lambda pair: pair.unlink(), "cannot read .*mine.json"),
    "JSON of another kind": (lambda pair: pair.write_text("[1]"), "does not have schema 1"),
    "JSON without end": (lambda pair: pair.write_text("[" * 100_000), "does not describe weights"),
    "a cut JSON": (lambda pair: pair.write_text(pair.read_text()[:-9]), "does not describe weights"),
    "bytes": (lambda pair: pair.write_bytes(b"\xff\xfe\x00"), "does not describe weights"),
    "a large JSON": (lambda pair: pair.write_text(" " * 2**21), "it is larger than 1,048,576 bytes"),
    "a link to a device": (lambda pair: linked(pair, "/dev/zero"), "it is no regular file"),
    "a link to itself": (lambda pair: linked(pair, pair.name), "cannot read .*mine.json"),
    "a pipe": (piped, "it is no regular file"),
    "a run's result": (lambda pair: said(pair, temperature=None), "temperature=None has the wrong type"),
    "NaN as temperature": (lambda pair: said(pair, temperature=float("nan")), "temperature=nan has the wrong type"),
    "a temperature of 0": (lambda pair: said(pair, temperature=0), "temperature=0: expected a number near 1"),
    "a hash of another kind": (lambda pair: said(pair, sha256="../x"), "expected 64 hexadecimal digits"),
    "an interpolation": (lambda pair: said(pair, calibration={"a": "${oc.env:HOME}"}), "is not plain"),
    "a net elsewhere": (lambda pair: said(pair, model="../evil"), "is not a valid name"),
    "a net that is not there": (lambda pair: said(pair, model="evil"), "no config of the net evil is installed"),
    "other counts": (lambda pair: said(pair, net={"counts": [1, 2]}), "has the wrong|expected 2 rows"),
    "no tensors": (lambda pair: pair.with_suffix(".safetensors").unlink(), "No such file or directory"),
    "a pipe of tensors": (lambda pair: piped(pair.with_suffix(".safetensors")), "it is no regular file"),
    "others' tensors": (lambda pair: unlike(pair, b"weights"), "it is not the file that mine.json describes"),
    "a large file": (lambda pair: os.truncate(pair.with_suffix(".safetensors"), 2**40), "larger than the weights"),
    "a text": (lambda pair: held(pair, lambda tensors: b"weights"), "it is damaged"),
    "a forged header": (lambda pair: held(pair, lambda tensors: HEADER), "it is damaged"),
    "other shapes": (of_each(lambda tensor: tensor.new_zeros(5)), "is that of another net"),
    "other names": (lambda pair: held(pair, lambda tensors: {"a\x1b[2J": torch.zeros(1)}), "is that of another net"),
    "NaN": (of_each(lambda tensor: tensor * float("nan")), "is infinite or not a number"),
    "infinity": (of_each(lambda tensor: tensor / 0 if tensor.ndim > 1 else tensor), "is infinite or not a number"),
}


@pytest.mark.parametrize("form", HOSTILE)
def test_weights_that_are_none_are_refused_in_one_line(pair, form):
    spoil, says = HOSTILE[form]
    spoil(pair)
    with pytest.raises(UserError, match=says) as refused:
        speaker_count.load_run(pair)
    assert len(str(refused.value).splitlines()) == 1
    assert "\x1b" not in str(refused.value)


def test_the_commands_refuse_them_likewise(verb, pair, tree):
    said(pair, temperature="hot")
    train = ("train", "data=folder", f"data.root={tree}", "logger=csv", f"model.weights={pair}")
    for arguments in (("evaluate", pair), train):
        code, _, errors = verb(*arguments)
        assert (code, len(errors.splitlines())) == (2, 1)
        assert "mine.json does not describe weights: temperature='hot' has the wrong type" in errors


def test_half_precision_is_read_too(pair):
    expected = speaker_count.load_run(pair).net.net.classifier.weight
    of_each(lambda tensor: tensor.half() if tensor.is_floating_point() else tensor)(pair)
    weight = speaker_count.load_run(pair).net.net.classifier.weight
    assert weight.dtype == torch.float32
    torch.testing.assert_close(weight, expected, atol=1e-3, rtol=1e-2)


def test_what_is_said_names_no_place_of_a_machine():
    for name in weights.names():
        text = (weights.FOLDER / f"{name}.json").read_text()
        assert not {"root", "cache", "url"} & Weights.read_file(weights.FOLDER / f"{name}.json").data.keys()
        assert not any(place in text for place in ("/root", "/home", "/work", "data.root", "hydra."))
