"""Downloads of LibriSpeech from a server on this machine that misbehaves on demand."""

import errno
import http.client
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from speaker_count.data import download
from speaker_count.errors import UserError
from tests.data.archive_server import ARCHIVE, CONTENT, HALF, SHA256, SPEECH, Server, sha256, tar_gz


def left(folder: Path) -> set[str]:
    """Everything below a folder, hidden files included."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix != ".lock"}


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def archive(root):
    return root / "dev-clean.tar.gz"


@pytest.fixture
def part(root):
    return root / "dev-clean.tar.gz.part"


def fetch(server: Server, root: Path, checksum: str = SHA256) -> None:
    download.fetch(root, "dev-clean", server.url, checksum)


def assert_complete(root: Path) -> None:
    assert {path.name for path in root.iterdir()} == {"LibriSpeech"}, "the archive should be gone"
    assert {path.name for path in (root / "LibriSpeech").glob("[!.]*")} == {"SPEAKERS.TXT", "dev-clean"}
    for name, data in CONTENT.items():
        assert (root / name).read_bytes() == data


def test_subset_is_complete_after_one_fetch_and_never_requested_again(server, root):
    fetch(server, root)
    assert_complete(root)
    fetch(server, root)
    assert server.asked == [None]


def test_subset_joins_a_librispeech_folder_and_leaves_its_speaker_table_alone(server, root):
    (root / "SPEAKERS.TXT").write_text("mine")
    fetch(server, root)
    assert (root / SPEECH).is_file()
    assert (root / "SPEAKERS.TXT").read_text() == "mine"
    assert not (root / "LibriSpeech").exists()


def test_cut_download_resumes_where_it_was_cut(server, root):
    server.cuts = [70_000, 50_000]
    fetch(server, root)
    assert_complete(root)
    assert server.asked == [None, "bytes=70000-", "bytes=120000-"]


def test_silent_connection_is_dropped_and_little_of_its_data_is_lost(server, root, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    server.cuts, server.silence = [150_000], 1.0
    fetch(server, root)
    assert_complete(root)
    first, second = server.asked
    assert first is None
    assert second is not None, "the whole archive was requested again"


def test_download_over_a_line_that_breaks_again_and_again_completes(server, root, monkeypatch):
    monkeypatch.setattr(download, "TRIES", 1)  # in a row without a byte: each try here brings some
    server.cuts = [50_000] * 3
    fetch(server, root)
    assert_complete(root)


def test_route_that_is_lost_midway_is_not_taken_for_a_full_disk(server, root, monkeypatch):
    read, broken = http.client.HTTPResponse.read, [OSError(errno.EHOSTUNREACH, "No route to host")]

    def read_or_break(response, *arguments):
        if broken:
            raise broken.pop()
        return read(response, *arguments)

    monkeypatch.setattr(http.client.HTTPResponse, "read", read_or_break)
    fetch(server, root)
    assert_complete(root)


def test_partial_download_of_an_earlier_process_is_resumed(server, root, part):
    part.write_bytes(ARCHIVE[:HALF])
    fetch(server, root)
    assert_complete(root)
    assert server.asked == [f"bytes={HALF}-"]


def test_partial_download_that_is_complete_is_used(server, root, part):
    part.write_bytes(ARCHIVE)
    fetch(server, root)
    assert_complete(root)
    assert len(server.asked) == 1


def test_server_without_ranges_sends_from_the_start(server, root, part):
    part.write_bytes(ARCHIVE[:HALF])
    server.ranges, server.cuts = False, [HALF + 1]
    fetch(server, root)
    assert_complete(root)


def test_server_without_ranges_that_never_sends_all_is_abandoned(server, root, monkeypatch):
    monkeypatch.setattr(download, "TRIES", 2)
    server.ranges, server.cuts = False, [5000, 4000, 3000, 2000, 1000]
    with pytest.raises(UserError, match="ended too early"):
        fetch(server, root)


def test_wrong_download_is_reported_with_both_checksums_and_removed(server, root):
    server.archive = tar_gz(CONTENT | {"LibriSpeech/README.TXT": b"another"})
    with pytest.raises(UserError, match=f"{sha256(server.archive)}, not {SHA256}"):
        fetch(server, root)
    assert left(root) <= {"LibriSpeech"}
    server.archive = ARCHIVE
    fetch(server, root)
    assert_complete(root)
    assert server.asked == [None, None]


def test_archive_in_place_is_used_and_kept(server, root, archive):
    archive.write_bytes(ARCHIVE)
    fetch(server, root)
    assert (root / "LibriSpeech" / SPEECH).read_bytes() == CONTENT[f"LibriSpeech/{SPEECH}"]
    assert archive.read_bytes() == ARCHIVE
    assert server.asked == []


@pytest.mark.parametrize("wrong", [ARCHIVE[:HALF], tar_gz({"other": b"archive"}), b""], ids=["half", "other", "empty"])
def test_wrong_archive_in_place_is_left_to_its_owner(server, root, archive, wrong):
    archive.write_bytes(wrong)
    with pytest.raises(UserError, match=f"{re.escape(str(archive))}.*{sha256(wrong)}.*{SHA256}.*remove that file"):
        fetch(server, root)
    assert archive.read_bytes() == wrong
    assert left(root) <= {"LibriSpeech", archive.name}
    assert server.asked == []


@pytest.mark.parametrize(
    "damaged",
    [
        ARCHIVE[:HALF],
        b"<html>Welcome to our WLAN</html>",
        tar_gz({"LibriSpeech/test-clean/84/121123/84-121123-0000.flac": b"speech"}),
        tar_gz({}),
    ],
    ids=["half", "no-archive", "no-such-subset", "empty"],
)
def test_damaged_archive_leaves_no_half_subset(server, root, damaged):
    server.archive = damaged
    with pytest.raises(UserError, match=r"dev-clean\.tar\.gz\.part is damaged.*remove it"):
        fetch(server, root, sha256(damaged))
    assert left(root / "LibriSpeech") <= {"SPEAKERS.TXT"}


@pytest.mark.parametrize("absolute", [False, True])
def test_members_that_would_escape_do_not(server, root, tmp_path, absolute):
    name = str(tmp_path / "evil") if absolute else "../../../evil"
    server.archive = tar_gz(CONTENT | {name: b"evil"})
    try:
        fetch(server, root, sha256(server.archive))
    except UserError:
        assert left(root) <= {"LibriSpeech", "dev-clean.tar.gz.part"}
    else:
        assert_complete(root)
    assert {path.name for path in tmp_path.iterdir()} == {"root"}


def test_missing_archive_is_reported_at_once(server, root):
    server.missing = True
    with pytest.raises(UserError, match=f"{server.url}/dev-clean.tar.gz: .*404"):
        fetch(server, root)
    assert len(server.asked) == 1


def test_unreachable_server_is_reported_with_the_size_of_the_partial_download(root, part, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "TRIES", 2)
    part.write_bytes(bytes(3_000_000))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(UserError, match=r"refused.*3 MB are kept: the same command resumes"):
        download.fetch(root, "dev-clean", f"http://127.0.0.1:{port}", SHA256)
    assert time.monotonic() - began < 5
    assert part.stat().st_size == 3_000_000


def test_url_without_http_is_refused(root):
    with pytest.raises(UserError, match=r"openslr/12/dev-clean\.tar\.gz: unknown url type"):
        download.fetch(root, "dev-clean", "openslr/12", SHA256)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_full_disk_is_reported_at_once(server, root, part):
    part.symlink_to("/dev/full")
    with pytest.raises(UserError, match=f"cannot write to {re.escape(str(root))}: No space left.*free some space"):
        fetch(server, root)
    assert len(server.asked) == 1


def test_unknown_subset_is_refused_with_the_known_ones(server, root):
    with pytest.raises(UserError, match=r"train-clean-10\b.*dev-clean.*train-clean-100.*train-other-500"):
        download.fetch(root, "train-clean-10", server.url)
    assert server.asked == []
    assert left(root) == set()


def test_command_ends_with_one_line_if_the_archive_is_not_the_published_one(server, root, tmp_path):
    command = Path(sys.executable).with_name("speaker-count")
    overrides = ["data=librispeech", f"data.root={root}", f"data.url={server.url}", f"data.cache={tmp_path / 'cache'}"]
    result = subprocess.run([command, "prepare", *overrides], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert SHA256 in line
    assert download.ARCHIVES["train-clean-100"] in line
    assert left(root) <= {"LibriSpeech"}
