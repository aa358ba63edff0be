"""A server of LibriSpeech's archives that misbehaves on demand."""

import hashlib
import io
import random
import re
import tarfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SPEECH = "dev-clean/84/121123/84-121123-0000.flac"
CONTENT = {
    "LibriSpeech/SPEAKERS.TXT": b"84 | F | dev-clean | 8.02 | Christie Nowak\n",
    f"LibriSpeech/{SPEECH}": random.Random(0).randbytes(200_000),  # does not compress
}


def tar_gz(content: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


ARCHIVE = tar_gz(CONTENT)
SHA256 = sha256(ARCHIVE)
HALF = len(ARCHIVE) // 2


class Server(ThreadingHTTPServer):
    """Serves one archive under every name.

    Attributes:
        url: of the server.
        archive: its content.
        asked: the `Range` header, or None, of each request so far.
        cuts: the number of bytes sent before hanging up, for each of the next requests; later ones get all bytes.
        silence: seconds to wait before hanging up.
        ranges: whether `Range` is honoured.
        missing: answer 404.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.archive, self.ranges, self.missing, self.silence = ARCHIVE, True, False, 0.0
        self.asked: list[str | None] = []
        self.cuts: list[int] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        asked = self.headers["Range"]
        self.server.asked.append(asked)
        whole = self.server.archive
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and self.server.ranges else 0
        if self.server.missing or start >= len(whole):
            self.send_error(404 if self.server.missing else 416)
            return
        body = whole[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
        self.end_headers()
        if self.server.cuts:
            self.wfile.write(body[: self.server.cuts.pop(0)])
            time.sleep(self.server.silence)
        else:
            self.wfile.write(body)

    def log_message(self, *_):
        pass
