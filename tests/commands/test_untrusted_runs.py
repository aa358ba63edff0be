"""A run from anywhere is data: nothing that its files say is called, imported, interpolated, fetched or written to."""

import copy
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speaker_count.data import demo
from speaker_count.errors import UserError
from speaker_count.results.record import RunResult
from tests.conftest import SMALL

CALL = {"_target_": "pathlib.Path.touch", "_args_": [{"_target_": "pathlib.Path", "_args_": ["canary"]}]}
CREATE = "${oc.create:{_target_:numpy.load,file:payload.npy,allow_pickle:true}}"


class Payload:
    """Touches the canary when it is unpickled."""

    def __reduce__(self):
        return open, ("canary", "w")


@pytest.fixture
def received(finished_sweep, tmp_path, monkeypatch):
    """A copy of a finished run of m5, which the working directory is; its Python files touch the canary."""
    run = shutil.copytree(next(finished_sweep.glob("m5-*")), tmp_path / "received")
    (run / "payload.npy").write_bytes(pickle.dumps(Payload()))
    for name in ("payload.py", "yaml.py", "jinja2.py", "numpy.py"):  # the last three as packages that verbs import
        (run / name).write_text("open('canary', 'w')\n")
    monkeypatch.setenv("SECRET", "s3cret")
    return run


def altered(tree, path, value):
    """A tree with another value in one place."""
    tree = copy.deepcopy(tree)
    *parents, last = path.split("/")
    node = tree
    for key in parents:
        node = node[key]
    node[last] = value
    return tree


FORMS = {
    "direct": ("net/net", CALL),
    "interpolated": ("net/net", CREATE),
    "nested": ("net/net/channels", {"deeper": CALL}),
    "in a list": ("data/train_subsets", [CALL]),
    "in a list of lists": ("net/net/stages", [[[CALL]]]),
    "aliased": ("data/utterance_list", "${mix.payload}"),
    "partial": ("net/net", {**CALL, "_partial_": True}),
    "a target alone": ("net/learning_rate", {"_target_": "payload.run"}),
    "in a key": ("net/${oc.create:payload}", 1),
    "a dotted key": ("net/net._target_", "payload.run"),
    "of the mix": ("mix/counts", CREATE),
    "an environment variable": ("data/url", "${oc.env:SECRET}"),
    "a resolver in a name": ("data/name", "${oc.env:SECRET}"),
    "a config elsewhere": ("data/name", "../../received/evil"),
    "a net elsewhere": ("model", "../../../received/evil"),
    "an override in a name": ("model", "m5,hydra.searchpath=[file://received]"),
    "a class instead of a scalar": ("net/counts", CALL),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("command", ["evaluate", "report", "weights"])
def test_nothing_of_it_is_called_or_interpolated(verb, received, monkeypatch, form, command):
    monkeypatch.chdir(received)
    (received / "evil.yaml").write_text("_target_: payload.run\n")
    path, value = FORMS[form]
    values = altered(json.loads((received / "result.json").read_text()), path, value)
    (received / "result.json").write_text(json.dumps(values))
    before = {file for file in received.rglob("*") if file.is_file()}
    code, out, err = verb(command, received)
    assert (code, len(err.splitlines())) == (2, 1)
    assert not (received / "canary").exists()
    assert "s3cret" not in out + err
    assert {file for file in received.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("form", FORMS)
def test_it_is_counted_with_as_data(verb, received, tmp_path, monkeypatch, form):
    monkeypatch.chdir(received)
    path, value = FORMS[form]
    values = altered(json.loads((received / "result.json").read_text()), path, value)
    (received / "result.json").write_text(json.dumps(values))
    soundfile.write(tmp_path / "x.wav", np.zeros(16_000), 16_000)
    before = {file for file in received.rglob("*") if file.is_file()}
    code, out, err = verb("predict", tmp_path / "x.wav", "--run", received)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "s3cret" not in err
    assert {file for file in received.rglob("*") if file.is_file()} == before  # no canary either


def test_its_list_of_utterances_is_not_read(verb, received, tree, tmp_path):
    (tmp_path / "private.txt").write_text("s3cret\n")
    values = json.loads((received / "result.json").read_text())
    values["data"] |= {"utterance_list": str(tmp_path / "private.txt"), "corpus_sha256": "0" * 64}
    (received / "result.json").write_text(json.dumps(values))
    code, out, err = verb("report", received, "--root", tree)
    assert code == 0, err
    assert "a file that is not read because a run names it" in out.replace("\n", " ")
    assert "s3cret" not in out + err
    code, out, err = verb("evaluate", received, f"data.root={tree}")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "give data.utterance_list=FILE, too" in err
    assert verb("evaluate", received, f"data.root={tree}", "data.utterance_list=null")[0] == 0


def test_it_does_not_say_where_speech_is_or_comes_from(verb, received, tmp_path):
    """Its folders are not made, its synthesiser does not run, and nothing is fetched."""
    values = json.loads((received / "result.json").read_text())
    places = {"root": str(tmp_path / "made"), "cache": str(tmp_path / "pools"), "url": "http://127.0.0.1:9/"}
    values["data"] |= {**places, "corpus_sha256": "0" * 64, "synthesize": {"speakers": 4, "utterances": 1}}
    (received / "result.json").write_text(json.dumps(values))
    code, out, err = verb("report", received)
    assert code == 0, err
    assert "is not among the pools in" in out.replace("\n", " ")
    code, _, err = verb("evaluate", received)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "made").exists()
    assert not (tmp_path / "pools").exists()


OF_SOURCES = {
    "librispeech": {"train_subsets": ["speech"], "url": "http://127.0.0.1:9/"},
    "folder": {},
    "manifest": {},
    "demo": {"voices": 4, "sentences": 1},
    "clips": {"rendered": True},
    "os.system": {"_target_": "os.system", "command": "touch canary"},
    "${oc.env:SECRET}": {},
    "payload": {"_target_": "payload.run"},
}


@pytest.mark.parametrize(("name", "source"), [
    ("librispeech", "librispeech"), ("folder-own", "folder"), ("manifest-own", "manifest"), ("demo", "demo"),
    ("clips", "clips"), ("librispeech", "manifest"), ("folder-own", "os.system"), ("demo", "${oc.env:SECRET}"),
    ("payload-own", "payload"),
])  # fmt: skip
def test_it_names_a_source_that_reads_makes_and_fetches_nothing(verb, received, tmp_path, monkeypatch, source, name):
    """Whatever source and corpus a run claims: what is read is what the user names."""
    made = {"root": str(tmp_path / "made"), "cache": str(tmp_path / "pools"), "corpus_sha256": "0" * 64}
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "manifest.csv").write_text("path,speaker\n/etc/passwd,s3cret\n")
    if source == "manifest":
        made["root"] += "/manifest.csv"
    values = json.loads((received / "result.json").read_text())
    values["data"] |= {**made, "name": name, "source": source, **OF_SOURCES[source]}
    (received / "result.json").write_text(json.dumps(values))
    monkeypatch.chdir(received)
    monkeypatch.setenv("LIBRISPEECH", str(tmp_path / "none"))
    monkeypatch.setattr(
        demo, "synthesize", lambda root, *sizes: (_ for _ in ()).throw(UserError(f"makes {root} {sizes}"))
    )
    for arguments in (("report", received), ("evaluate", received)):
        code, out, err = verb(*arguments)
        assert (code, len(err.splitlines())) in ((0, 0), (2, 1)), err
        assert "s3cret" not in out + err
        assert str(tmp_path / "made") not in out + err
    if source == "demo":  # the installed demo corpus, of the installed size, in the user's own folder
        assert "(16000, 48, 6)" in err
        assert str(tmp_path / "pools") not in err
    assert not (received / "canary").exists()
    assert not (tmp_path / "pools").exists()
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["manifest.csv"]


def test_the_speech_of_a_run_by_a_manifest_is_where_the_user_says(verb, received, tree, tmp_path):
    lines = [f"{path},{path.parts[-3]},{'FM'[int(path.parts[-3]) >= 112]}" for path in sorted(tree.rglob("*.flac"))]
    (tmp_path / "mine.csv").write_text("\n".join(["path,speaker,sex", *lines]))
    values = json.loads((received / "result.json").read_text())
    values["data"] |= {
        "name": "manifest-other",
        "source": "manifest",
        "root": "/nowhere.csv",
        "corpus_sha256": "0" * 64,
    }
    (received / "result.json").write_text(json.dumps(values))
    code, _, err = verb("evaluate", received, f"data.root={tmp_path / 'mine.csv'}")
    assert code == 0, err
    (path,) = (received / "evaluations").glob("manifest-mine-paper-*.json")
    assert json.loads(path.read_text())["data"]["speakers"] == {"train": 12, "validation": 6, "test": 6}
    code, out, err = verb("report", received, "--root", tmp_path / "mine.csv")
    assert code == 0, err
    assert "mine.csv holds another corpus than the runs'" in out.replace("\n", " ")


def test_its_own_speech_is_found_by_its_hash(verb, received):
    values = json.loads((received / "result.json").read_text())
    values["data"]["root"] = "/nowhere"
    (received / "result.json").write_text(json.dumps(values))
    code, _, err = verb("evaluate", received)
    assert code == 0, err
    (path,) = (received / "evaluations").glob("*.json")
    evaluation = json.loads(path.read_text())
    assert evaluation["test_sha256"] == RunResult.read(received).test_sha256
    assert evaluation["data"]["corpus_sha256"] == values["data"]["corpus_sha256"]


@pytest.mark.parametrize("arguments", [("report", "."), ("evaluate", ".", "trainer=ddp")])
def test_files_beside_it_are_not_imported(received, cache, arguments):
    """Some have the names of packages that a verb imports, and the received folder is the working directory."""
    command = [Path(sys.executable).with_name("speaker-count"), *arguments]
    environment = {**os.environ, "SPEAKER_COUNT_CACHE": str(cache)}
    done = subprocess.run(command, cwd=received, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not (received / "canary").exists()


def test_an_own_net_s_unusual_values_are_read_again(received):
    """A run that finished can be read: only what could be interpolated or built is refused."""
    values = json.loads((received / "result.json").read_text())
    values["model"], values["data"]["name"] = "mine/tiny.v2", "my corpus"
    values["net"]["net"] |= {"layers": [{"width": 3}], "scale": float("inf"), "w-x": 1e16, "_recursive_": False}
    values["changes"] = ["model.net.cls_token=4"]
    (received / "result.json").write_text(json.dumps(values))
    assert RunResult.read(received).net["net"]["layers"] == [{"width": 3}]


@pytest.mark.parametrize("link", ["report", "report/tables", "report/index.html", "report/index.html.partial"])
def test_a_report_is_written_through_no_link(verb, received, tmp_path, link):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("mine")
    (received / link).parent.mkdir(exist_ok=True)
    (received / link).symlink_to(elsewhere if "." not in link else elsewhere / "file")
    code, _, err = verb("report", received)
    assert code == (2 if "." not in link else 0)
    assert ("is a link, so nothing is written into it: remove the link" in err) == bool(code)
    assert [path.name for path in elsewhere.iterdir()] == ["file"]
    assert (elsewhere / "file").read_text() == "mine"


def test_an_evaluation_is_written_through_no_link(verb, received, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (received / "evaluations").symlink_to(tmp_path / "elsewhere")
    code, _, err = verb("evaluate", received)
    assert code == 2
    assert "evaluations is a link" in err
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("name", ["train.log", "checkpoints", "wandb", "metrics.csv"])
def test_a_received_run_is_resumed_through_no_link(command, tree, tmp_path, name):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).symlink_to(tmp_path / "elsewhere")
    done = command("train", *SMALL, f"data.root={tree}", "model=m3", "hydra.run.dir=run")
    assert done.returncode == 2
    assert done.stderr.strip() == f"{tmp_path}/run/{name} is a link, and a run writes into no link: remove it, or " + (
        "link the whole folder"
    )
    assert not list((tmp_path / "elsewhere").iterdir())
