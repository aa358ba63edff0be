"""A web page that counts in the browser, as a folder of static files: page, net, and onnxruntime for browsers."""

import base64
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from speaker_count import files
from speaker_count.errors import UserError
from speaker_count.inference.audio import LOUDEST
from speaker_count.inference.predictor import HOP, SILENCE_DB, SMOOTH
from speaker_count.inference.session import Described, Session, packaged

SOURCE = Path(__file__).parent / "web"
RUNTIME = ("ort/ort.wasm.bundle.min.mjs", "ort/ort-wasm-simd-threaded.wasm")  # `make web-assets` puts them there
# all that the page may do; its worker comes from a blob, which has the page's policy wherever the files are served
POLICY = "; ".join(
    (
        "default-src 'none'",
        "connect-src 'self'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "worker-src 'self' blob:",
        "style-src 'self'",
        "img-src data:",
        "media-src blob:",  # asks how long a file is
        "base-uri 'none'",
        "form-action 'none'",
    )
)
COPIED = (
    "LICENSE-onnxruntime.txt",
    "counting.js",
    "drawing.js",
    "microphone.js",
    "page.js",
    "sound.js",
    "style.css",
    "texts.js",
    "track.js",
    "view.js",
    "worker.js",
    *RUNTIME,
)
KEPT = (*COPIED, "index.html", "net.json", "net.onnx")
NAMES = (*KEPT, "offline.js")


def write(folder: Path, model: str | Path | bytes | None = None) -> int:
    """Write the page's folder.

    Args:
        folder: new, empty, or with an older page.
        model: an ONNX file that `speaker-count export` wrote, or its content; None: the packaged `recommended`.

    Returns:
        The size of all files, in bytes.

    Raises:
        UserError: the folder holds other files, the model cannot be read, or onnxruntime for browsers is missing.
    """
    if not all((SOURCE / name).is_file() for name in RUNTIME):
        raise UserError(
            "onnxruntime for browsers is missing: in a checkout, `make web-assets` (needs npm); then install again, "
            "unless it was installed with -e"
        )
    _check_free(folder)
    model = packaged() if model is None else model
    net = Session(model, threads=1).described  # what is no net is refused here
    files.check_writable(folder, "name another folder")
    for name in COPIED:
        files.make_own((folder / name).parent)
        _copy(SOURCE / name, folder / name)
    _copy(model, folder / "net.onnx")
    files.write_json(folder / "net.json", settings(net))
    html = (SOURCE / "index.html").read_text(encoding="utf-8")
    files.write_text(folder / "index.html", html.replace("{{policy}}", POLICY))  # what it names is there
    files.write_text(folder / "offline.js", _offline(folder))
    return sum((folder / name).stat().st_size for name in NAMES)


def settings(net: Described) -> dict[str, Any]:
    """What the page must know to count as `predict` does by default."""
    return {
        "counts": net.counts,
        "sample_rate": net.sample_rate,
        "clip_samples": net.clip_samples,
        "hop_samples": min(round(HOP * net.sample_rate), net.clip_samples),
        "smooth_seconds": SMOOTH,
        "silence": 10 ** (SILENCE_DB / 20),
        "loudest": LOUDEST,
        "identity": net.identity,
    }


def _offline(folder: Path) -> str:
    """The script that keeps the page's files, which it names with their hashes."""
    digests = {name: hashlib.sha256((folder / name).read_bytes()).digest() for name in KEPT}
    hashes = {name: f"sha256-{base64.b64encode(digest).decode()}" for name, digest in digests.items()}
    version = hashlib.sha256(b"".join(digests.values())).hexdigest()[:12]
    script = (SOURCE / "offline.js").read_text(encoding="utf-8")
    return script.replace("{{files}}", json.dumps(hashes, indent=2)).replace("{{version}}", version)


def _check_free(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: name a folder")
    own = {Path(name).parts[0] for name in NAMES}
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    # somebody's own page may have files of the same names; what is copied first is in every folder of ours
    others = sorted(found if COPIED[0] not in found else found - own)
    if others:
        raise UserError(f"{folder} holds other files ({others[0]}): name a new folder, or an older page's")


def _copy(source: str | Path | bytes, target: Path) -> None:
    """Write a file whole or not at all: a copy of one, or a content."""
    with files.replacing(target) as partial:
        if isinstance(source, bytes):
            partial.write_bytes(source)
        else:
            shutil.copyfile(source, partial)
