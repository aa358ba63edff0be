"""Dependencies are those that were checked: pinned by hash, with licences that are allowed and no known advisory."""

import base64
import hashlib
import http.server
import json
import re
import subprocess
import sys
import threading
import zipfile

import pytest

from tests import audit
from tests.conftest import REPOSITORY

LOCK = REPOSITORY / "requirements.lock"
PIN = re.compile(r"[a-z0-9][a-z0-9.-]*(\[[a-z0-9,-]+\])?==[\w.+!]+( ; [^@]+)?")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
# what installers read
READ = ("requirements.lock", "pyproject.toml", "Makefile", ".ci/run", ".github/workflows/ci.yml")
ELSEWHERE = re.compile(r"index[-_]url|find[-_]links|trusted[-_]host|registry", re.IGNORECASE)


def requirements(text):
    """The logical lines of a lock: what is required, and its options."""
    lines = re.sub(r"\s*#.*", "", text).replace("\\\n", " ").splitlines()
    return [re.split(r"\s+(?=--)", line.strip()) for line in lines if line.strip()]


def problems(text):
    """What is wrong with a lock."""
    for requirement, *options in requirements(text):
        if not PIN.fullmatch(requirement):
            yield f"not pinned: {requirement}"
        if not options or not all(map(HASH.fullmatch, options)):
            yield f"not by hash: {requirement}"


def test_every_requirement_is_pinned_by_hash(tally):
    text = LOCK.read_text()
    assert len(requirements(text)) > 100
    assert not list(problems(text))
    whole = "sha256:" + "0" * 64
    bad = ("a==1", "a>=1 --hash=" + whole, "a @ https://host/a.whl --hash=" + whole, "-e .", "a==1 --hash=md5:00",
           "--index-url https://host", "https://host/a.whl", "a==1.* --hash=" + whole)  # fmt: skip
    for line in bad:
        assert list(problems(line)), line
    tally(inputs=len(bad))


@pytest.mark.parametrize("name", READ)
def test_packages_come_from_where_the_user_s_own_installer_looks(name, tally):
    path = REPOSITORY / name
    if not path.is_file():
        pytest.skip(f"not a checkout: no {name}")
    assert not ELSEWHERE.search(path.read_text())
    assert name != "requirements.lock" or "://" not in path.read_text()
    tally(inputs=1)


def pip(*arguments):
    command = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--disable-pip-version-check"]
    return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True)


def test_pip_accepts_the_lock_without_a_network(tally):
    done = pip("--require-hashes", "--dry-run", "-r", LOCK)
    if "No matching distribution found" in done.stderr:
        pytest.skip(f"the environment is not that of the lock: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    tally(inputs=1)


@pytest.fixture
def wheel(tmp_path):
    """A package in a folder of packages, and the SHA-256 of its file."""
    path = tmp_path / "packages" / "tiny_speech-1.0-py3-none-any.whl"
    path.parent.mkdir()
    about = {"METADATA": "Metadata-Version: 2.1\nName: tiny-speech\nVersion: 1.0\n",
             "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}  # fmt: skip
    files = {"tiny_speech.py": "", **{f"tiny_speech-1.0.dist-info/{name}": text for name, text in about.items()}}
    record = ""
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(text)}\n"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**files, "tiny_speech-1.0.dist-info/RECORD": record}.items():
            archive.writestr(name, text)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("fault", ["none", "another hash", "another file", "no hash"])
def test_pip_refuses_a_lock_or_a_file_that_was_altered(wheel, tmp_path, fault, tally):
    path, sha256 = wheel
    lines = {"another hash": f"tiny-speech==1.0 --hash=sha256:{sha256[::-1]}", "no hash": "tiny-speech==1.0"}
    lock, target = tmp_path / "tiny.lock", tmp_path / "installed"
    lock.write_text(lines.get(fault, f"tiny-speech==1.0 --hash=sha256:{sha256}") + "\n")
    if fault == "another file":
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("more.py", "")
    done = pip("--require-hashes", "--find-links", path.parent, "--target", target, "-r", lock)
    assert (done.returncode == 0) == (fault == "none"), done.stderr
    assert (target / "tiny_speech.py").exists() == (fault == "none")
    if fault in ("another hash", "another file"):
        assert "DO NOT MATCH THE HASHES" in done.stderr
    tally(faults=int(fault != "none"))


@pytest.mark.parametrize(
    ("package", "licence", "allowed"),
    [
        ("numpy", "BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0", True),
        ("torch", "Apache-2.0 AND Apache-2.0 WITH LLVM-exception AND BSL-1.0", True),
        ("soxr", "GNU Lesser General Public License v2 or later (LGPLv2+)", True),
        ("tqdm", "MPL-2.0 AND MIT", True),
        ("either", "GPL-2.0-only OR MIT", True),
        ("espeakng_loader", "GPL-3.0-or-later", True),
        ("nvidia-cublas", "LicenseRef-NVIDIA-Proprietary", True),
        ("other", "GPL-3.0-or-later", False),
        ("other", "GNU General Public License v3 (GPLv3)", False),
        ("other", "MIT AND GPL-2.0-only", False),
        ("other", "GNU Affero General Public License v3", False),
        ("other", "AGPL-3.0-only", False),
        ("other", "Other/Proprietary License", False),
        ("other", "UNKNOWN", False),
        ("other", "LIMITED", False),
        ("nvidia-cublas", "UNKNOWN", False),
    ],
)
def test_only_some_licences_are_allowed(package, licence, allowed, tally):
    assert audit.is_allowed(package, licence) == allowed
    tally(inputs=1)


@pytest.fixture
def advisories():
    """A database of advisories on loopback that knows one, of the package named `packaging`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            affected = [{"package": {"name": "packaging", "ecosystem": "PyPI"}, "versions": [asked.get("version")]}]
            known = {"id": "TEST-2026-1", "modified": "2026-01-01T00:00:00Z", "summary": "bad", "affected": affected}
            found = [known] if asked.get("package", {}).get("name") == "packaging" else []
            content = json.dumps({"vulns": found} if found else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()


def lock_of(folder, *names):
    lock = folder / "some.lock"
    lock.write_text("".join(f"{name} --hash=sha256:{'0' * 64}\n" for name in names))
    return lock


def test_a_known_advisory_is_a_problem(advisories, tmp_path, tally):
    (problem,) = audit.look_up(lock_of(tmp_path, "packaging==26.0", "filelock==3.16.0"), tmp_path, advisories)
    assert problem == "advisory: packaging 26.0: TEST-2026-1, mended in no version yet"
    assert audit.look_up(lock_of(tmp_path, "filelock==3.16.0"), tmp_path, advisories) == []
    assert audit.look_up(lock_of(tmp_path, "filelock>=3.16.0"), tmp_path, advisories)  # a lock that cannot be read
    tally(faults=2)


def test_without_a_network_the_audit_says_so_and_does_the_rest(tmp_path, tally):
    lock = lock_of(tmp_path, "packaging==26.0", "tqdm==4.67")
    command = [sys.executable, "-m", "tests.audit", "--lock", lock, "--out", tmp_path / "out"]
    done = subprocess.run(
        [*command, "--advisories", "http://127.0.0.1:9/"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    first, second, third = done.stdout.splitlines()
    assert first.startswith("advisories: not looked up, because http://127.0.0.1:9/ cannot be reached (")
    assert second == "licences: of 2 packages"
    materials = json.loads((tmp_path / "out" / "bom.json").read_text())
    assert materials["bomFormat"] == "CycloneDX"
    assert {"torch", "pytorch-lightning"} <= {component["name"] for component in materials["components"]}
    assert third == f"bill of materials: {tmp_path / 'out' / 'bom.json'}, {len(materials['components'])} packages"
    tally(faults=1)
