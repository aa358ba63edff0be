"""Downloads, sweeps and evaluations killed at random moments."""

import hashlib
import http.server
import io
import multiprocessing
import os
import random
import signal
import tarfile
import threading
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from speaker_count.data import download
from tests.conftest import SMALL, speaker_count
from tests.faults.conftest import FULL
from tests.faults.test_kills import contents, die_at

ROUNDS = range(10 if FULL else 1)


@pytest.fixture(scope="module")
def archive():
    """Forty files of noise, which does not shrink, in LibriSpeech's layout."""
    content, noise = io.BytesIO(), random.Random(0)
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for number in range(40):
            info = tarfile.TarInfo(f"LibriSpeech/dev-clean/1/2/1-2-{number:04}.flac")
            info.size = 20_000
            tar.addfile(info, io.BytesIO(noise.randbytes(info.size)))
        tar.addfile(tarfile.TarInfo("LibriSpeech/SPEAKERS.TXT"), io.BytesIO())
    return content.getvalue()


@pytest.fixture
def server(archive):
    """The address of a server that has the archive, and continues where a download broke off."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            begin = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(len(archive) - begin))
            self.end_headers()
            self.wfile.write(archive[begin:])

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()


def fetch_and_die(where, call, number, *arguments):
    die_at(where, call, number)
    download.fetch(*arguments)


@pytest.mark.parametrize("round_", ROUNDS)
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize(
    ("where", "calls"),
    [("http.client:HTTPResponse.read", 12), ("shutil:copyfileobj", 40), ("pathlib:Path.rename", 2)],
    ids=["receiving", "unpacking", "put in place"],
)
def test_a_killed_download_is_complete_when_given_again(where, calls, name, round_, archive, server, tmp_path, tally):
    call = random.Random(f"{where}/{name}/{round_}").randint(1, calls)
    what = (tmp_path, "dev-clean", server, hashlib.sha256(archive).hexdigest())
    process = multiprocessing.get_context("fork").Process(
        target=fetch_and_die, args=(where, call, signal.Signals[name], *what)
    )
    process.start()
    process.join()
    tally(faults=1)
    assert process.exitcode == -signal.Signals[name]
    download.fetch(*what)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            assert (tmp_path / member.name).read_bytes() == tar.extractfile(member).read()
    assert {path.name for path in tmp_path.iterdir()} == {"LibriSpeech"}
    assert not list((tmp_path / "LibriSpeech").glob("*.partial"))


NETS = ("m3", "m5", "m11", "m18", "spec_1", "spec_2", "spec_4")


def die_after(seconds):
    """Let this process be killed after a while."""
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()


def test_a_sweep_of_seven_that_is_killed_again_and_again_ends_as_undisturbed(tree, cache, tmp_path, tally):
    sizes = ("mix.clips.train=30", "mix.clips.validation=6", "mix.clips.test=6", "trainer.max_epochs=1")
    sweep = ("train", "--multirun", *SMALL[:1], *sizes, f"data.root={tree}", "logger=csv", f"model={','.join(NETS)}")
    run = partial(speaker_count, tmp_path, cache, *sweep)
    assert run("hydra.sweep.dir=undisturbed").returncode == 0
    expected = contents(tmp_path / "undisturbed", "*/metrics.csv", "*/predictions.parquet")
    assert len(expected) == 2 * len(NETS)
    moments = random.Random(0)
    for _ in range(3 * len(ROUNDS)):
        killed = run("hydra.sweep.dir=killed", before=partial(die_after, moments.uniform(2, 12)))
        if killed.returncode == 0:
            break  # all runs were finished before the moment came
        tally(faults=1)
        assert killed.returncode == -signal.SIGKILL
    again = run("hydra.sweep.dir=killed")
    assert again.returncode == 0, again.stderr
    assert contents(tmp_path / "killed", "*/metrics.csv", "*/predictions.parquet") == expected


def test_an_evaluation_that_was_cut_off_resumes(tree, cache, tmp_path, tally):
    """What it had computed is not computed again: here, it is replaced, and what replaces it comes out."""
    run = partial(speaker_count, tmp_path, cache, "train", *SMALL, f"data.root={tree}", "model=m3", "logger=csv")
    cut = partial(die_at, "speaker_count.training.module:SpeakerCounter.test_step", 3, signal.SIGINT)
    tally(faults=1)
    assert run("data.batch_size=16", "hydra.run.dir=run", before=cut).returncode == 1
    (log,) = (tmp_path / "run" / "checkpoints").glob("evaluating-*.parquet")
    columns = pq.read_table(log).to_pydict()
    of_test = [split == "test" for split in columns["split"]]
    assert sum(of_test) == 32
    other = [5.0, 0.0, 0.0]
    columns["logits"] = [other if test else own for test, own in zip(of_test, columns["logits"], strict=True)]
    pq.write_table(pa.table(columns), log)
    again = run("data.batch_size=16", "hydra.run.dir=run")
    assert again.returncode == 0, again.stderr
    assert f"resuming the evaluation from {log}" in again.stdout
    rows = pq.read_table(tmp_path / "run" / "predictions.parquet").to_pydict()
    assert rows["predicted"][:32] == [1] * 32
    assert len({*rows["p_1"][:32]}) == 1
    assert len({*rows["p_1"][32:]}) > 1
    assert not log.exists()
