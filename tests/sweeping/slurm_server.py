"""A real Slurm on this machine: a controller and one node, on loopback."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdTimeout=10
KillWait=5
SchedulerParameters=sched_interval=1,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=8000
PartitionName=main Nodes=ALL Default=YES MaxTime=60 PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=60 PriorityTier=10
"""


def missing() -> str:
    """Why no Slurm can be started here; empty if it can."""
    programs = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if shutil.which(name) is None]
    if programs:
        return f"no Slurm here ({', '.join(programs)} missing): apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "a Slurm is started by root only"


class Slurm:
    """Two processors, a partition `main` and another, `urgent`, whose jobs preempt those of `main`."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.daemons: dict[str, subprocess.Popen] = {}
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}

    def start(self) -> None:
        for name in ("state", "spool"):
            (self.folder / name).mkdir(parents=True)
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        host = socket.gethostname().split(".")[0]
        with contextlib.ExitStack() as sockets:
            free = [sockets.enter_context(socket.socket()) for _ in range(2)]
            for one in free:
                one.bind(("127.0.0.1", 0))
            ports = [one.getsockname()[1] for one in free]
        (self.folder / "slurm.conf").write_text(CONF.format(folder=self.folder, host=host, ports=ports))
        files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munge.pid", "seed-file": "munge.seed"}
        options = (f"--{option}={self.folder / name}" for option, name in files.items())
        self._daemon("munged", "--foreground", "--force", f"--log-file={self.folder / 'munged.log'}", *options)
        self._until(lambda: (self.folder / "munge.socket").exists(), "munged")
        self._daemon("slurmctld", "-D")
        self.start_node()

    def start_node(self) -> None:
        self._daemon("slurmd", "-D")
        up = {"idle", "mixed", "allocated"}
        self._until(lambda: self.ask("sinfo", "-h", "-p", "main", "-o", "%T") in up, "slurmd")

    def kill_node(self) -> None:
        """As if its power went: the daemon and all that it runs."""
        node = self.daemons.pop("slurmd")
        node.kill()
        node.wait()
        for process in self._of_jobs():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def _of_jobs(self) -> list[int]:
        """The processes of jobs: they know this Slurm by its configuration, and their job."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                variables = (path / "environ").read_bytes().split(b"\0")
                of_job = any(variable.startswith(b"SLURM_JOB_ID=") for variable in variables)
                conf = f"SLURM_CONF={self.folder / 'slurm.conf'}".encode()
                stepd = (path / "comm").read_text().startswith("slurmstepd")
                if conf in variables and (of_job or stepd):
                    found.append(int(path.name))
        return found

    def ask(self, *command: str) -> str:
        """What a command of Slurm's prints; empty if it fails."""
        return subprocess.run(command, env=self.environment, capture_output=True, text=True).stdout.strip()

    def jobs(self) -> list[str]:
        """The numbers of the jobs that wait or run, without those that Slurm still clears away."""
        return self.ask("squeue", "-h", "-r", "-t", "PENDING,RUNNING", "-o", "%i").split()

    def go_on(self, seconds: float = 60) -> None:
        """Let a job that was queued again start at once: Slurm makes it wait for two minutes."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for line in self.ask("squeue", "-h", "-o", "%i %r").splitlines():
                job, reason = line.split(maxsplit=1)
                if "BeginTime" in reason:
                    self.ask("scontrol", "update", f"JobId={job}", "StartTime=now")
                    return
            time.sleep(0.3)
        raise TimeoutError(f"no job was queued again: {self.ask('squeue')}")

    def stop(self) -> None:
        self.ask("scancel", "--me")
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
        for daemon in self.daemons.values():
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
        for process in self._of_jobs():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def _daemon(self, name: str, *arguments: str) -> None:
        with open(self.folder / f"{name}.log", "a") as log:
            self.daemons[name] = subprocess.Popen(
                [name, *arguments], env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def _until(self, true, name: str, seconds: float = 60) -> None:
        until = time.monotonic() + seconds
        while not true():
            if time.monotonic() > until or self.daemons[name].poll() is not None:
                raise RuntimeError(f"{name} does not come up: {(self.folder / f'{name}.log').read_text()[-1000:]}")
            time.sleep(0.2)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Slurm]:
    """A Slurm in this folder, while it is entered."""
    slurm = Slurm(folder)
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()
