"""A network that is not there, and archives that are not what they seem."""

import hashlib
import io
import tarfile
import tracemalloc

import pytest

from speaker_count.data import download
from speaker_count.errors import UserError
from tests.conftest import SMALL


def test_an_online_run_without_a_network_ends_with_one_line(command, tree, tmp_path, tally):
    tally(faults=1)
    server = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": 40 * "a"}  # nobody listens there
    done = command("train", *SMALL, f"data.root={tree}", "model=m3", "logger.mode=online", **server)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("Weights & Biases: [Errno 111] Connection refused. Check the network")
    assert line.endswith("stay offline with logger.mode=offline, or leave W&B out with logger=csv")


def a_large_file(tar):
    info = tarfile.TarInfo("LibriSpeech/dev-clean/1/2/1-2-0001.flac")
    info.size = 300_000_000
    tar.addfile(info, Zeros())


def a_large_header(tar):
    """The extended header of one small file, which is read into memory."""
    info = tarfile.TarInfo("LibriSpeech/dev-clean/1/2/1-2-0001.flac")
    info.pax_headers = {"comment": "0" * 100_000_000}
    tar.addfile(info, Zeros())


def many_folders(tar):
    for number in range(50_000):
        info = tarfile.TarInfo(f"LibriSpeech/dev-clean/{number}")
        info.type = tarfile.DIRTYPE
        tar.addfile(info)


class Zeros:
    """An endless file."""

    def read(self, size):
        return bytes(size)


@pytest.mark.parametrize("fill", [a_large_file, a_large_header, many_folders])
def test_an_archive_that_unpacks_to_far_more_than_speech_is_refused(fill, tmp_path, tally):
    tally(inputs=1)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
        fill(tar)
    archive = tmp_path / "dev-clean.tar.gz"
    archive.write_bytes(content.getvalue())
    del content
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="is damaged: it unpacks to more than 2 times its size"):
            download.fetch(tmp_path, "dev-clean", "", hashlib.sha256(archive.read_bytes()).hexdigest())
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert {path.name for path in tmp_path.iterdir()} == {"LibriSpeech", archive.name}
    assert [path.name for path in (tmp_path / "LibriSpeech").iterdir()] == [".dev-clean.lock"]
