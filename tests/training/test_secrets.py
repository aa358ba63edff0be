"""Secrets that a user gives in an override stand in no file."""

from speaker_count.training.secrets import masked
from tests.conftest import SMALL

SECRETS = (
    "+logger.api_key=s3cret-1",
    "+logger.hub_auth=s3cret-2",
    "+logger.login.password=s3cret-3",
    "+logger.more={hub_token: s3cret-5, shown: 1}",
    "+logger.mirror='https://me:s3cret-4@example.org/x'",
)


def test_no_file_of_a_sweep_holds_a_secret(command, tree, tmp_path):
    """Given where W&B is not used, so that all of them reach the config."""
    sweep = ("train", "--multirun", *SMALL, f"data.root={tree}", "logger=csv", "model=m3", *SECRETS)
    done = command(*sweep)
    assert done.returncode == 0, done.stderr
    written = [path for path in (tmp_path / "multirun").rglob("*") if path.is_file()]
    assert {"multirun.yaml", "config.yaml", "overrides.yaml", "result.json"} <= {path.name for path in written}
    assert not [path for path in written if b"s3cret" in path.read_bytes()]
    assert "s3cret" not in done.stdout + done.stderr


def test_settings_are_no_secrets():
    settings = ["model.net.cls_token=4", "model.net.max_token=[1,2]", "+model.net.token=true", "seed=3"]
    assert masked(settings) == settings
    assert masked({"cls_token": True, "max_token": 5}) == {"cls_token": True, "max_token": 5}
