"""Tab completion, in a real shell."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BASH = shutil.which("bash")
# what bash does at Tab: it sets these variables and calls the function that `complete` names for the command
TAB = """
eval "$(speaker-count -sc install=bash)"
complete -p speaker-count | grep -q _speaker_count || echo "not registered"
for COMP_LINE in "$@"; do
    COMP_WORDS=($COMP_LINE) COMP_POINT=${#COMP_LINE} COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
    [[ $COMP_LINE == *" " ]] && COMP_CWORD=$(( COMP_CWORD + 1 ))
    COMPREPLY=()
    _speaker_count
    echo "${COMPREPLY[@]}"
done
eval "$(speaker-count -sc uninstall=bash)"
complete -p speaker-count 2>/dev/null
"""


@pytest.mark.skipif(BASH is None, reason="needs bash")
def test_verbs_groups_choices_and_keys(tmp_path):
    (tmp_path / "own" / "model").mkdir(parents=True)
    (tmp_path / "own" / "model" / "mine.yaml").write_text("defaults: [m3]\n")
    expected = {
        "speaker-count fore": "forecast",
        "speaker-count ": "predict listen occupancy web train evaluate stress weights export prepare clips forecast "
        "report dashboard",
        "speaker-count train mod": "model. model=",
        "speaker-count train model=s": "model=spec_1 model=spec_2 model=spec_4",
        "speaker-count train -m seed=0,1 model=m3,s": "model=m3,spec_1 model=m3,spec_2 model=m3,spec_4",
        "speaker-count train model=m5 model.le": "model.learning_rate=",
        "speaker-count train --config-dir own model=mi": "model=mine",
        "speaker-count evaluate some/run mix.clips.te": "mix.clips.test=",
        "speaker-count clips out=there data=d": "data=demo",
        "speaker-count train hydra/launcher=s": "hydra/launcher=slurm hydra/launcher=submitit_local "
        "hydra/launcher=submitit_slurm",
        "speaker-count train model=no_such_net mix.cl": "",
        "speaker-count report mod": "",  # the shell completes paths
        "speaker-count predict --s": "--smooth --silence",
        "speaker-count occupancy hall.csv --": "--help --limit --plot",
        "speaker-count evaluate --co": "--config-dir",
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shell = [BASH, "--norc", "--noprofile", "-c", TAB, "bash", *expected]
    done = subprocess.run(shell, cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert dict(zip(expected, done.stdout.splitlines(), strict=True)) == expected
    assert done.stderr == ""
