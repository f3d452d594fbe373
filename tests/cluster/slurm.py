"""A real Slurm of one node, started and stopped by the tests: no systemd, no cgroups, no database.

The node has the machine's cores and memory, and GPUs that are counted but cannot compute: device files
that are clones of /dev/null, which Slurm hands out through CUDA_VISIBLE_DEVICES as on a real node.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "scancel", "scontrol")
SYSTEM = Path("/etc/slurm")  # the executor strips SLURM_CONF, so the default place must know

# For a Slurm without accounting that answers at once: how Snakemake is to ask it.
ROOT = Path(__file__).resolve().parents[2]
QUICK = [
    "--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2",
    "--seconds-between-status-checks", "2", "--latency-wait", "20",
    "--slurm-partition-config", str(ROOT / "profiles" / "slurm" / "partitions.yaml"),
]  # fmt: skip

CONF = """\
ClusterName=dgnbench
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={base}/munge.socket
CredType=cred/munge
SlurmctldPort={controller_port}
SlurmdPort={node_port}
StateSaveLocation={base}/state
SlurmdSpoolDir={base}/spool
SlurmctldPidFile={base}/slurmctld.pid
SlurmdPidFile={base}/slurmd.pid
SlurmctldLogFile={base}/slurmctld.log
SlurmdLogFile={base}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
MinJobAge=3600
KillWait=5
InactiveLimit=0
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:{gpus} State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes={host} Default=NO MaxTime=INFINITE State=UP
"""


def why_not() -> str | None:
    """What is missing for a Slurm of our own, or None."""
    if os.geteuid() != 0:
        return "starting a Slurm of one's own takes root"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"no {', '.join(missing)}: Debian's slurm-wlm and munge are not installed"
    foreign = [f for f in (SYSTEM / "slurm.conf", SYSTEM / "gres.conf") if f.exists()]
    if foreign:
        return f"{foreign[0]} belongs to another Slurm, which stays as it is"
    return None


class Slurm:
    """The daemons, by their process ids, and what the queue says."""

    def __init__(self, base: Path, gpus: int = 1) -> None:
        self.base, self.gpus = base, gpus
        self.host = socket.gethostname().split(".")[0]
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Slurm:
        for folder in ("state", "spool"):
            (self.base / folder).mkdir()
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
        conf = CONF.format(
            base=self.base, host=self.host, cpus=os.cpu_count(), memory=int(memory * 0.9),
            gpus=self.gpus, controller_port=_free_port(), node_port=_free_port(),
        )  # fmt: skip
        (self.base / "slurm.conf").write_text(conf)
        devices = [self.base / f"nvidia{i}" for i in range(self.gpus)]
        for device in devices:
            os.mknod(device, 0o666 | 0o020000, os.makedev(1, 3))
        lines = [f"NodeName={self.host} Name=gpu File={device}\n" for device in devices]
        (self.base / "gres.conf").write_text("".join(lines))
        SYSTEM.mkdir(exist_ok=True)
        for name in ("slurm.conf", "gres.conf"):
            (SYSTEM / name).symlink_to(self.base / name)
        key = self.base / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o600)
        try:
            self.start(
                "munged", "--foreground", "--force", f"--key-file={key}",
                f"--socket={self.base}/munge.socket", f"--pid-file={self.base}/munged.pid",
                f"--log-file={self.base}/munged.log", f"--seed-file={self.base}/munged.seed",
            )  # fmt: skip
            _wait(lambda: (self.base / "munge.socket").exists(), "munged made no socket")
            self.start_controller()
            self.start("slurmd", "-D", "-N", self.host)
            _wait(lambda: "idle" in self.ask("sinfo", "-h", "-o", "%T"), "the node is not idle")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if "slurmctld" in self.processes:
            subprocess.run(["scancel", "--user=root"], check=False, timeout=30)
        for name in ("slurmd", "slurmctld", "munged"):
            self.stop(name)
        for name in ("slurm.conf", "gres.conf"):
            if (SYSTEM / name).is_symlink() and (SYSTEM / name).parent == SYSTEM:
                (SYSTEM / name).unlink()

    def start(self, *command: str) -> None:
        """Start a daemon in the foreground, as a child of ours."""
        log = (self.base / f"{command[0]}.out").open("ab")
        self.processes[command[0]] = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )

    def stop(self, name: str, number: int = signal.SIGTERM) -> None:
        """End a daemon that we started, by its process id."""
        process = self.processes.pop(name, None)
        if process is None or process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def start_controller(self) -> None:
        """Start slurmctld, which goes on with the state that it saved."""
        self.start("slurmctld", "-D")
        _wait(lambda: "UP" in self.ask("scontrol", "ping"), "slurmctld does not answer")

    def ask(self, *command: str) -> str:
        """What a client of Slurm prints, whatever its exit code."""
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False
        ).stdout

    def jobs(self) -> list[dict[str, Any]]:
        """Every job of this Slurm, ended ones too: id, state, partition, gpus, what it does, seconds."""
        found = []
        for block in self.ask("scontrol", "--oneliner", "show", "jobs").splitlines():
            facts = dict(re.findall(r"(\w+)=(\S*)", block))
            if "JobId" in facts:
                found.append(
                    {
                        "id": facts["JobId"],
                        "state": facts["JobState"],
                        "partition": facts["Partition"],
                        "gpus": next(iter(re.findall(r"TresPerJob=\S*gpu[:=](\d+)", block)), "0"),
                        "comment": facts.get("Comment", ""),
                        "seconds": _seconds(facts.get("RunTime", "00:00:00")),
                    }
                )
        return found


def _seconds(clock: str) -> int:
    """``[days-]hours:minutes:seconds`` of Slurm."""
    days, _, time_of_day = clock.rpartition("-")
    hours, minutes, seconds = (int(part) for part in time_of_day.split(":"))
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _wait(condition: Callable[[], bool], otherwise: str, seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            raise TimeoutError(f"after {seconds:.0f} s: {otherwise}")
        time.sleep(0.1)
