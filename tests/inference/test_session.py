"""Nets that onnxruntime runs, and files that are none."""

import json

import numpy as np
import onnx
import pytest
import torch

import speaker_count
from speaker_count.errors import UserError
from speaker_count.inference.session import MIDDLE, OUTPUT, Session, packaged


def test_the_packaged_file_counts_as_the_packaged_weights_do_on_real_speech(conversation):
    run, net = speaker_count.load_run("recommended"), Session(packaged())
    described = json.loads(packaged().with_suffix(".json").read_text())
    assert (net.described.sha256, net.described.identity) == (described["sha256"], described["identity"])
    assert (net.described.counts, net.described.labels) == (run.counts, run.labels)
    clips = np.lib.stride_tricks.sliding_window_view(conversation.samples.astype(np.float32), 16_000)[::4000]
    given, expected = net.probabilities(clips), run.predict(clips.copy())
    np.testing.assert_allclose(given, expected, atol=1e-4)
    np.testing.assert_array_equal(given.argmax(axis=1), expected.argmax(axis=1))
    assert net.over_time == MIDDLE
    with torch.inference_mode():
        middle = run.net.with_middle(torch.from_numpy(clips.copy()))[1].softmax(dim=1).numpy()
    np.testing.assert_allclose(net.probabilities(clips, MIDDLE), middle, atol=1e-4)
    assert (middle.argmax(axis=1) != expected.argmax(axis=1)).any()  # who speaks in the clip is not who speaks now


def test_a_file_without_the_middle_counts_over_time_by_whole_clips(noise):
    model = onnx.load(packaged())
    del model.graph.output[1]
    net = Session(model.SerializeToString())
    assert net.over_time == OUTPUT
    np.testing.assert_array_equal(net.probabilities(noise[None, :16_000], net.over_time).shape, (1, 4))


def changed(metadata: dict[str, str | None] | None = None, outputs: str | None = None, of: str = OUTPUT) -> bytes:
    """The packaged file with other metadata, or another name of one of its outputs."""
    model = onnx.load(packaged())
    values = {entry.key: entry.value for entry in model.metadata_props} | (metadata or {})
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {key: value for key, value in values.items() if value is not None})
    if outputs is not None:
        model.graph.node.append(onnx.helper.make_node("Identity", [of], [outputs]))
        model.graph.output[[OUTPUT, MIDDLE].index(of)].name = outputs
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (b"", "onnxruntime cannot load it"),
        (b"no model", "onnxruntime cannot load it"),
        ({"counts": None}, "its metadata lacks counts"),
        ({"counts": "[0, 1, 2"}, "its metadata is damaged"),
        ({"counts": "[" * 100_000}, "its metadata is damaged"),
        ({"counts": "[0, 1, 2, 1e999]"}, "its counts are no list of whole numbers"),
        ({"counts": "[3, 2, 1, 0]"}, "its counts are not increasing"),
        ({"counts": "[0, 1]", "labels": '["a", "b"]'}, r"it does not give probabilities \(batch, 2\)"),
        ({"labels": '["a", "b", "c", "\\u001b[31m"]'}, "its labels are not those of its counts"),
        ({"labels": "[]"}, "its labels are not those of its counts"),
        ({"sample_rate": "1"}, "its sample rate or its length of a clip is absurd"),
        ({"clip_samples": "8000"}, r"it does not take waveform \(batch, 8000\)"),
        ("logits", r"it does not give probabilities"),
        (changed(outputs="edge", of=MIDDLE), r"it gives more than probabilities and middle"),
    ],
)
def test_a_file_that_is_no_net_to_count_with_is_refused_with_its_reason(model, says):
    if isinstance(model, dict):
        model = changed(model)
    elif isinstance(model, str):
        model = changed(outputs=model)
    with pytest.raises(UserError, match=f"no net to count with \\({says}"):
        Session(model)


def test_a_path_that_holds_no_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot read .*none.onnx: No such file"):
        Session(tmp_path / "none.onnx")
    with pytest.raises(UserError, match="it is no regular file"):
        Session(tmp_path)
