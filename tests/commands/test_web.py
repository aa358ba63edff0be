"""The browser page's folder, from the command line."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from speaker_count.inference import page
from speaker_count.weights import FOLDER
from tests.conftest import REPOSITORY

LOADED = all((page.SOURCE / name).is_file() for name in page.RUNTIME)
needs_runtime = pytest.mark.skipif(not LOADED, reason="`make web-assets` was not run")
MOST_BYTES = 20e6  # of the whole page


@needs_runtime
def test_it_writes_a_static_folder_of_less_than_20_mb_that_names_no_other_place(verb, tmp_path):
    code, out, err = verb("web", "out")
    assert (code, err) == (0, "")
    written = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert written == set(page.NAMES)
    size = sum((tmp_path / "out" / name).stat().st_size for name in written)
    assert size < MOST_BYTES
    assert out == f"out: {size / 1e6:.1f} MB; any web server serves it, here `speaker-count web out --serve`\n"
    assert (tmp_path / "out" / "net.onnx").read_bytes() == (FOLDER / "recommended.onnx").read_bytes()
    for name in written:
        if name.endswith((".html", ".js", ".css", ".json")):
            assert "http://" not in (tmp_path / "out" / name).read_text()
            assert "https://" not in (tmp_path / "out" / name).read_text()
    html = (tmp_path / "out" / "index.html").read_text()
    assert "content=\"default-src 'none'; connect-src 'self';" in html
    assert verb("web", "out")[0] == 0  # an older page is replaced


@needs_runtime
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("full",), "full holds other files (mine.txt)"),
        (("full/mine.txt",), "is a file"),
        (("site",), "site holds other files (index.html)"),
        (("full/mine.txt/out",), "cannot write to full/mine.txt/out: Not a directory"),
        (("out", "--weights", "full/mine.txt"), "is no net to count with"),
        (("out", "--run", "full"), "there is neither a finished run nor full/full.onnx"),
        (("out", "--serve", "--port", "99999"), "port 99999 cannot be used"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(verb, tmp_path, words, says):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("kept")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("kept")
    code, out, err = verb("web", *words)
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["full", "index.html", "mine.txt", "site"]
    assert (tmp_path / "site" / "index.html").read_text() == "kept"


def test_a_port_in_use_is_one_line(verb, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, out, err = verb("web", "out", "--serve", "--port", port)
    assert (code, out) == (2, "")
    assert err == f"port {port} cannot be used (Address already in use): choose another one with --port N\n"
    assert not (tmp_path / "out").exists()


def test_a_checkout_without_onnxruntime_for_browsers_says_what_gets_it(verb, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "RUNTIME", ("ort/none.wasm",))
    code, out, err = verb("web", "out")
    assert (code, out) == (2, "")
    assert err.startswith("onnxruntime for browsers is missing: in a checkout, `make web-assets` (needs npm); then ")
    assert err.endswith("install again, unless it was installed with -e\n")


@needs_runtime
def test_it_serves_the_page_s_files_alone_with_their_types_until_ctrl_c(tmp_path):
    command = [sys.executable, "-m", "speaker_count", "web", "out", "--serve", "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        url = re.search(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())[0]
        (tmp_path / "out" / "secret.txt").write_text("x")
        for name, kind in (
            ("", "text/html"),
            ("page.js", "text/javascript"),
            ("ort/ort.wasm.bundle.min.mjs", "text/javascript"),
            ("ort/ort-wasm-simd-threaded.wasm", "application/wasm"),
            ("net.json", "application/json"),
            ("net.onnx", "application/octet-stream"),
        ):
            with urllib.request.urlopen(url + name) as answer:
                assert answer.headers["Content-Type"].split(";")[0] == kind
                assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        for name in ("secret.txt", "ort/", "../x", "%2e%2e/x", "ort/../secret.txt"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(url + name)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stderr.read() == ""


def test_the_lock_file_has_hashes_and_names_no_host():
    lock = json.loads((page.SOURCE / "npm" / "package-lock.json").read_text())
    packages = {name: each for name, each in lock["packages"].items() if name}
    assert "node_modules/onnxruntime-web" in packages
    assert all(each["integrity"].startswith("sha512-") and "resolved" not in each for each in packages.values())
