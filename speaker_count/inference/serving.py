"""The page's folder on this machine's own address, for its browsers alone."""

import http.server
import sys
from functools import partial
from pathlib import Path

from speaker_count.errors import UserError
from speaker_count.inference.page import NAMES, POLICY

ADDRESS = "127.0.0.1"
TYPES = {  # a machine's registry may say otherwise
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".txt": "text/plain; charset=utf-8",
    "": "application/octet-stream",
}


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the page's own files, whatever else the folder holds."""

    extensions_map = TYPES

    def send_head(self):  # type: ignore[no-untyped-def]
        name = self.path.split("?", 1)[0].removeprefix("/") or "index.html"
        if name not in NAMES:
            self.send_error(404)
            return None
        return super().send_head()

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", f"{POLICY}; frame-ancestors 'none'")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing: who opened the page sees it."""


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):  # type: ignore[no-untyped-def]
        if not isinstance(sys.exception(), ConnectionError):  # a browser may break off at any time
            super().handle_error(request, client_address)


def server(folder: Path, port: int) -> http.server.ThreadingHTTPServer:
    """A server of the page on the loopback address; `serve_forever` runs it.

    Args:
        port: 0 takes a free one.

    Raises:
        UserError: the port is in use, or no port.
    """
    try:
        return _Server((ADDRESS, port), partial(_Handler, directory=str(folder)))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"port {port} cannot be used ({reason}): choose another one with --port N") from error
