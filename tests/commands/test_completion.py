"""Tab completion, in a real shell."""

import contextlib
import os
import pty
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
        "speaker-count predict x.wav --format ": "text json csv rttm audacity",
        "speaker-count predict x.wav --format a": "audacity",
        "speaker-count predict --format=j": "--format=json",
        "speaker-count predict --hop ": "",
        "speaker-count occupancy hall.csv --": "--help --limit --plot",
        "speaker-count evaluate --co": "--config-dir",
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shell = [BASH, "--norc", "--noprofile", "-c", TAB, "bash", *expected]
    done = subprocess.run(shell, cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert dict(zip(expected, done.stdout.splitlines(), strict=True)) == expected
    assert done.stderr == ""


@pytest.mark.skipif(BASH is None, reason="needs bash")
def test_a_space_follows_a_complete_word_and_no_begun_override(tmp_path):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    master, slave = pty.openpty()
    shell = [BASH, "--norc", "--noprofile", "-i"]
    process = subprocess.Popen(
        shell, cwd=tmp_path, env={**os.environ, "PATH": path, "INPUTRC": os.devnull, "TERM": "xterm"},
        stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    typed = "pred\tx.wav --fo\tj\t/", "train mix.clips.te\t/"
    # \x01 goes to the beginning of the line, whose words are printed then
    lines = [f"speaker-count {line}\x01printf '%s,' >>out " for line in typed]
    os.write(master, "\n".join(['eval "$(speaker-count -sc install=bash)"', *lines, "exit", ""]).encode())
    with contextlib.suppress(OSError):  # the other end is closed
        while os.read(master, 2**16):
            pass
    os.close(master)
    assert process.wait(30) == 0
    written = (tmp_path / "out").read_text()
    assert written == "speaker-count,predict,x.wav,--format,json,/,speaker-count,train,mix.clips.test=/,"
