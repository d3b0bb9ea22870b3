"""A real SLURM of one node, as Debian packages it, for as long as the proof takes."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.rigs.archive.parts import QUIET, Lab, SkippedError, free_port, process, wait_until

_NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")
_CONF = """
ClusterName=hypnod
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldPort={control}
SlurmdPort={node}
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=4000
PartitionName=short Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
_JOB = "partition=short walltime=00:10:00 memory=1GB"


def slurm(folder: Path) -> str:
    """Two jobs of a queue score an archive; one is cancelled on the way, and replaced."""
    lab = Lab(folder, 72, seconds=400)  # a while: the queue is not asked all the time
    with _slurm(folder) as conf:
        os.environ["SLURM_CONF"] = QUIET["SLURM_CONF"] = str(conf)
        run = lab.start("--workers", "2", "--slurm", _JOB)
        lab.wait_for(6, run)
        (first, *_) = _jobs("R")
        subprocess.run(["scancel", first], check=True)
        wait_until(
            "another job",
            lambda: len({*_jobs("PD,R")} - {first}) == 2 or run.poll() is not None,
        )
        if run.poll() is not None:
            raise AssertionError("expected another job before the end of the run, found none")
        lab.finish(run)
        wait_until("the end of all jobs", lambda: not _jobs("R"))
    lab.check_whole({})
    version = subprocess.run(["slurmctld", "-V"], capture_output=True, text=True, check=True)
    return (
        f"{version.stdout.strip()}, one of two jobs cancelled on the way, another one took its "
        f"place: all {lab.n} done, no job left"
    )


@contextmanager
def _slurm(folder: Path) -> Iterator[Path]:
    """Give the config of a SLURM that runs; raise SkippedError where there is none to be had."""
    missing = [name for name in _NEEDED if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        raise SkippedError(
            "expected root, and SLURM by apt-get install slurmctld slurmd slurm-client munge, "
            f"found {f'no {missing[0]}' if missing else 'another user'}"
        )
    folder.chmod(0o755)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key, conf = folder / "munge.key", folder / "slurm.conf"
    key.touch(mode=0o400)
    key.write_bytes(os.urandom(1024))
    host = socket.gethostname().partition(".")[0]
    conf.write_text(
        _CONF.format(
            host=host,
            user="root",
            folder=folder,
            control=free_port(),
            node=free_port(),
            cores=len(os.sched_getaffinity(0)),
        ),
        encoding="utf-8",
    )
    QUIET["SLURM_CONF"] = os.environ["SLURM_CONF"] = str(conf)
    munge = [f"--key-file={key}", f"--socket={folder}/munge.socket", f"--seed-file={folder}/seed"]
    munge += [f"--pid-file={folder}/munge.pid", f"--log-file={folder}/munge.log"]
    with ExitStack() as stack:
        stack.enter_context(process("munged", "--foreground", "--force", *munge))
        wait_until("munge", (folder / "munge.socket").exists)
        stack.enter_context(process("slurmctld", "-D", "-i"))
        stack.enter_context(process("slurmd", "-D"))
        wait_until("a node that is idle", _is_idle)
        yield conf


def _is_idle() -> bool:
    found = subprocess.run(
        ["sinfo", "--noheader", "-o", "%t"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() == "idle"


def _jobs(state: str) -> list[str]:
    """Return the jobs that run, or all that are queued, by number."""
    found = subprocess.run(
        ["squeue", "--noheader", "-o", "%i", "-t", state],
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.split()
