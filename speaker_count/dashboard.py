"""`speaker-count dashboard DIR`: the runs below a folder, compared in Weights & Biases: a workspace, and a report.

Both show runs that W&B has already: offline ones are sent with `wandb sync` first.
"""

import argparse
import contextlib
import json
import logging
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from speaker_count import CONFIG_DIR, jobs
from speaker_count.errors import UserError
from speaker_count.results import dashboard, record

SYNC = "send offline runs with `wandb sync RUN_DIR/wandb/offline-run-*`, and give this command again"
DRY_RUN = "--dry-run prints what it would make"


def row(result: Mapping[str, Any]) -> dict[str, Any]:
    """A finished run as `results.dashboard` takes it."""
    data = {key: value for key, value in result["data"].items() if key not in ("speakers", "corpus_sha256")}
    config = {"data": data, "mix": result["mix"], "model": result["net"]}  # as W&B has it
    overrides = (change.lstrip("+").partition("=") for change in result.get("changes", ()))
    settings = {
        "data.name": data["name"],  # what tells most comes first
        "mix.name": result["mix"]["name"],
        **{key: value for key, value in jobs.leaves(config) if key not in jobs.OUTSIDE},
        **{key: value for key, _, value in overrides if key.startswith("trainer.")},
        "trainer.max_epochs": result["last"]["epoch"],
        "test_sha256": result["test_sha256"][:12],
    }
    return {
        "net": result["model"],
        "seed": result["seed"],
        "identity": result["identity"],
        "settings": settings,
        "synthetic": bool(data.get("synthesize")),
        "parameters": result.get("parameters"),
        "minutes": result["fit_seconds"] / 60,
        "last": result["last"],
    }


def log_in() -> str:
    """Log in with what the user has set up, without asking.

    Returns:
        The user's default entity.

    Raises:
        UserError: there is no login, it is not valid, or W&B cannot be reached.
    """
    import wandb

    os.environ.setdefault("WANDB_SILENT", "true")  # what is wrong is told once, by us
    settings = wandb.setup().settings
    try:
        if wandb.login(prompt=False, verify=False):
            _reach(settings.base_url)
            return wandb.Api().default_entity
    except Exception as error:  # as in `main`
        raise _unreachable(error) from error
    if settings.mode == "online":
        raise UserError(f"no login to Weights & Biases: `wandb login`, {SYNC}; {DRY_RUN}")
    raise UserError(f"Weights & Biases is to stay offline: set WANDB_MODE=online, {SYNC}; {DRY_RUN}")


def _reach(url: str, seconds: float = 10) -> None:
    """Ask a server for anything at all. W&B itself goes on trying, for minutes, where none answers."""
    with contextlib.suppress(urllib.error.HTTPError):  # it has answered
        urllib.request.urlopen(url, timeout=seconds).close()


def _unreachable(error: Exception) -> UserError:
    reason = str(getattr(error, "reason", error))  # of a URLError, without its angle brackets
    reason = (reason.splitlines() or [type(error).__name__])[0]
    return UserError(
        f"Weights & Biases: {reason.rstrip('.')}. See to the network, the login (`wandb login`), --entity and --project"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split(":", 1)[1].strip())
    parser.add_argument("dir", type=Path, help="the folder of a run, of a sweep, or of several")
    parser.add_argument("--entity", help="the user or team that has the runs (default: the login's)")
    project = yaml.safe_load((CONFIG_DIR / "logger" / "wandb.yaml").read_text())["project"]
    parser.add_argument("--project", default=project, help="the project that has the runs (default: %(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="print what would be made, as JSON, and save nothing")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")

    results = record.finished(arguments.dir).values()
    rows = [row(result) for result in {result["identity"]: result for result in results}.values()]
    entity = "" if arguments.dry_run else log_in()
    about = (arguments.project, arguments.entity or entity, arguments.dir.resolve().name, rows)
    workspace, report = dashboard.workspace(*about), dashboard.report(*about)
    if arguments.dry_run:
        print(json.dumps(dashboard.specification(workspace, report), indent=1))
        return
    try:
        for name, view in (("workspace", workspace), ("report", report)):
            view.save()
            print(f"{name}: {view.url}")
    except Exception as error:  # whatever W&B refuses; a failed request has a private type
        raise _unreachable(error) from error
