"""Nets that onnxruntime runs, and files that are none."""

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch

import speaker_count
from speaker_count.errors import UserError
from speaker_count.inference.session import MIDDLE, OUTPUT, Session, packaged
from tests.conftest import REPOSITORY


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


def net(*nodes: onnx.NodeProto, **values: np.ndarray) -> onnx.ModelProto:
    """A net of these nodes behind `x`, the logits, all 0; its metadata is the packaged one's."""
    tensor, helper = onnx.TensorProto.FLOAT, onnx.helper
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["waveform", "weights"], ["x"]), *nodes],
        "net",
        [helper.make_tensor_value_info("waveform", tensor, ("batch", 16_000))],
        [helper.make_tensor_value_info(OUTPUT, tensor, ("batch", 4))],
        [onnx.numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {entry.key: entry.value for entry in onnx.load(packaged()).metadata_props})
    return model


def node(kind: str, inputs: str, output: str, **attributes) -> onnx.NodeProto:
    return onnx.helper.make_node(kind, inputs.split(), [output], **attributes)


ZEROS = np.zeros((16_000, 4), np.float32)
SOFTMAX = node("Softmax", "x", "y")


@pytest.mark.parametrize(
    ("nodes", "says"),
    [
        ([node("Log", "x", "y"), node("Sub", "y y", OUTPUT)], "what it gives are no probabilities"),  # NaN
        ([node("Cos", "x", OUTPUT)], "what it gives are no probabilities"),  # 1
        ([SOFTMAX, node("ReduceMean", "y", OUTPUT, axes=[0])], "what it gives are no probabilities"),
        ([SOFTMAX, node("Concat", "y y", OUTPUT, axis=0)], "what it gives are no probabilities"),
        ([SOFTMAX, node("Reshape", "y shape", OUTPUT)], "onnxruntime fails while it runs"),
        ([node("Own", "x", OUTPUT, domain="other")], "onnxruntime cannot load it"),
    ],
)
def test_a_net_that_does_not_do_what_it_says_is_refused_before_it_counts(nodes, says):
    model = net(*nodes, weights=ZEROS, shape=np.array([7, 4]))
    model.opset_import.append(onnx.helper.make_opsetid("other", 1))
    with pytest.raises(UserError, match=f"the ONNX model is no net to count with \\({says}\\)"):
        Session(model.SerializeToString())


def test_a_net_reads_no_other_file(tmp_path, monkeypatch):
    model = net(node("Softmax", "x", OUTPUT), weights=ZEROS)
    assert Session(model.SerializeToString()).described.counts == [0, 1, 2, 3]
    monkeypatch.chdir(tmp_path)
    onnx.save(model, "x.onnx", save_as_external_data=True, location="beside.bin", size_threshold=0)
    for path in ("x.onnx", tmp_path / "x.onnx"):
        with pytest.raises(UserError, match=r"onnxruntime cannot load it"):
            Session(path)


def test_ctrl_c_ends_a_net_that_never_ends(tmp_path):
    value = onnx.helper.make_tensor_value_info
    body = onnx.helper.make_graph(
        [node("Identity", "in", "out"), node("Add", "sum sum", "next")],
        "body",
        [value("i", onnx.TensorProto.INT64, []), value("in", onnx.TensorProto.BOOL, []), value("sum", 1, [])],
        [value("out", onnx.TensorProto.BOOL, []), value("next", 1, [])],
    )
    endless = [
        node("ReduceSum", "x", "begin", keepdims=0),
        onnx.helper.make_node("Loop", ["", "true", "begin"], ["end"], body=body),
        node("Add", "x end", "y"),
        node("Softmax", "y", OUTPUT),
    ]
    onnx.save(net(*endless, weights=ZEROS, true=np.array(True)), tmp_path / "x.onnx")
    script = (
        "import os, signal, threading\n"
        "from speaker_count.inference.session import Session\n"
        "threading.Timer(2, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "try:\n    Session('x.onnx')\nexcept KeyboardInterrupt:\n    print('ended')"
    )
    command = [sys.executable, "-c", script]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("ended\n", "")


def test_a_path_that_holds_no_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot read .*none.onnx: No such file"):
        Session(tmp_path / "none.onnx")
    with pytest.raises(UserError, match="it is no regular file"):
        Session(tmp_path)
