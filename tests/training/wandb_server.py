"""A W&B server on loopback, as far as `wandb sync` and `wandb agent` need one."""

import contextlib
import gzip
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class WandbServer(ThreadingHTTPServer):
    """The server.

    Attributes:
        uploaded: the files of runs, by their paths.
        sweep: the config of the one sweep.
        commands: the answers to the heartbeats of the agent, one after the other.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.uploaded: dict[str, bytes] = {}
        self.sweep, self.commands = "", []

    @property
    def environment(self) -> dict[str, str]:
        """With which `wandb` finds it."""
        return {"WANDB_BASE_URL": self.address, "WANDB_API_KEY": 40 * "0", "WANDB_ERROR_REPORTING": "false"}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, operation: str, variables: dict[str, Any]) -> dict[str, Any]:
        """The data of a GraphQL operation's answer."""
        if operation == "UpsertBucket":
            project = {"id": "p", "name": "speaker_count", "entity": {"id": "e", "name": "me"}}
            run = {"id": "r", "name": variables["name"], "displayName": "run", "config": "{}", "project": project}
            return {"upsertBucket": {"bucket": run, "inserted": True}}
        if operation == "Viewer":
            return {"viewer": {"id": "u", "username": "me", "entity": "me", "flags": "{}", "teams": {"edges": []}}}
        if operation == "CreateRunFiles":
            files = [{"name": name, "uploadUrl": f"{self.address}/upload/{name}"} for name in variables["files"]]
            return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}
        if operation == "SweepWithRuns":
            return {
                "project": {
                    "sweep": {"id": "s", "name": variables["sweep"], "config": self.sweep, "runs": {"edges": []}}
                }
            }
        if operation == "CreateAgent":
            return {"createAgent": {"agent": {"id": "a"}}}
        if operation == "Heartbeat":
            is_busy = bool(json.loads(variables["runState"]))
            commands = [] if is_busy or not self.commands else [self.commands.pop(0)]
            return {"agentHeartbeat": {"agent": {"id": "a"}, "commands": json.dumps(commands)}}
        return {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WandbServer

    def log_message(self, *arguments: object) -> None: ...

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _answer(self, values: dict[str, Any]) -> None:
        body = json.dumps(values).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):  # some clients do not wait for it
            self.wfile.write(body)

    def do_GET(self) -> None:
        self._answer({})

    def do_PUT(self) -> None:
        self.server.uploaded[self.path.removeprefix("/upload/")] = self._body()
        self._answer({})

    def do_POST(self) -> None:
        body = self._body()
        if self.path != "/graphql":
            return self._answer({})
        asked = json.loads(body)
        operation = re.search(r"(?:query|mutation)\s+(\w+)", asked["query"])
        data = self.server.answer(operation[1] if operation else "", asked.get("variables") or {})
        return self._answer({"data": data})


@contextlib.contextmanager
def running() -> Iterator[WandbServer]:
    """A server of one's own."""
    with WandbServer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
