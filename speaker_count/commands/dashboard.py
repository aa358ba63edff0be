"""`speaker-count dashboard DIR`: compare the runs below a folder in Weights & Biases, in a workspace and a report.

Both show only runs that W&B already has: upload offline runs with `wandb sync` first.
"""

import argparse
import json
import logging
import os
from pathlib import Path

import yaml

from speaker_count import CONFIG_DIR
from speaker_count.errors import UserError
from speaker_count.training.importing import importing

SYNC = "upload offline runs with `wandb sync RUN_DIR/wandb/offline-run-*`, and give this command again"
DRY_RUN = "--dry-run prints what this command would make"


def log_in() -> str:
    """Log in with the credentials that the user has set up, without asking.

    Returns:
        The user's default entity.

    Raises:
        UserError: there is no login, it is not valid, or W&B cannot be reached.
    """
    import wandb

    from speaker_count.training import wandb_run

    os.environ.setdefault("WANDB_SILENT", "true")  # the UserError says what is wrong
    settings = wandb.setup().settings
    try:
        if wandb.login(prompt=False, verify=False):
            wandb_run.reach(settings.base_url)
            return wandb.Api().default_entity or ""
    except Exception as error:  # as in `main`
        raise _unreachable(error) from error
    if settings.mode == "online":
        raise UserError(f"no login to Weights & Biases: run `wandb login`, {SYNC}; {DRY_RUN}")
    raise UserError(f"Weights & Biases is set to offline: set WANDB_MODE=online, {SYNC}; {DRY_RUN}")


def _unreachable(error: Exception) -> UserError:
    reason = str(getattr(error, "reason", error))  # of a URLError, without its angle brackets
    reason = (reason.splitlines() or [type(error).__name__])[0]
    return UserError(
        f"Weights & Biases: {reason.rstrip('.')}. Check the network, the login (`wandb login`), --entity and --project"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":", 1)[1].strip())
    parser.add_argument("dir", type=Path, help="the folder of a run, of a sweep, or of several")
    parser.add_argument("--entity", help="the user or team that has the runs (default: that of the login)")
    project = yaml.safe_load((CONFIG_DIR / "logger" / "wandb.yaml").read_text())["project"]
    parser.add_argument("--project", default=project, help="the project that has the runs (default: %(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="print what would be made, as JSON, and save nothing")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    with importing():
        from speaker_count.results import record
        from speaker_count.sweeping import wandb_views

    results = record.finished(arguments.dir).values()
    rows = [wandb_views.row(result) for result in {result.identity: result for result in results}.values()]
    entity = "" if arguments.dry_run else log_in()
    about = (arguments.project, arguments.entity or entity, arguments.dir.resolve().name, rows)
    workspace, report = wandb_views.workspace(*about), wandb_views.report(*about)
    if arguments.dry_run:
        print(json.dumps(wandb_views.specification(workspace, report), indent=1))
        return
    try:
        for name, view in (("workspace", workspace), ("report", report)):
            view.save()
            print(f"{name}: {view.url}")
    except Exception as error:  # whatever W&B refuses; a failed request has a private type
        raise _unreachable(error) from error
