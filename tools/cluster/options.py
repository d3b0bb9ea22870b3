"""Where work is spread: this machine, a scheduler that is there, or a queue; as options say it."""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import msgspec
import typer

from models.errors import ConfigError

Queue = Literal["slurm", "pbs", "lsf"]

_ON_ALL = ("cores", "memory", "walltime", "account", "interface")
_OF_JOBS: Mapping[Queue, tuple[str, ...]] = {
    "slurm": ("partition",),
    "pbs": ("queue", "resource_spec"),
    "lsf": ("queue",),
}
"""What may be said of a job beside that which every queue knows."""

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([MGT])i?B", re.IGNORECASE)
_MB = {"M": 1.0, "G": 1e3, "T": 1e6}
_LEAST_MB = 200
"""A process takes so much before it has anything to do: with less it is ended, and begun again."""
_ADDRESS = re.compile(r"(\w+://)?\S+:\d+")
_PAIRS = "such as 'walltime=08:00:00 memory=4GB'; docs/archives.md has the keys."

WorkersOption = Annotated[
    int | None,
    typer.Option(min=1, help="Processes that compute; default here: as many as cores."),
]
MemoryOption = Annotated[
    str, typer.Option(help="Memory of each process here, e.g. 2GB; default: its share.")
]
SchedulerOption = Annotated[
    str | None,
    typer.Option(help="Compute on this Dask scheduler's workers.", metavar="tcp://HOST:PORT"),
]
SlurmOption = Annotated[
    list[str] | None,
    typer.Option(help=f"Compute in SLURM jobs, {_PAIRS}", metavar="KEY=VALUE…"),
]
PbsOption = Annotated[
    list[str] | None, typer.Option(help="Likewise in PBS jobs.", metavar="KEY=VALUE…")
]
LsfOption = Annotated[
    list[str] | None, typer.Option(help="Likewise in LSF jobs.", metavar="KEY=VALUE…")
]


class ClusterOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where work is spread; with neither scheduler nor queue on this machine."""

    workers: int | None = None
    """Processes; None: as many as this machine has cores."""
    memory: str = "auto"
    """Of each process on this machine."""
    scheduler: str | None = None
    """Address of a Dask scheduler."""
    queue: Queue | None = None
    job: Mapping[str, str] = {}
    """What the queue is asked for."""


def read_cluster(
    workers: int | None,
    memory: str,
    scheduler: str | None,
    slurm: Sequence[str] | None,
    pbs: Sequence[str] | None,
    lsf: Sequence[str] | None,
) -> ClusterOptions:
    """Return what the options say.

    Raises:
        ConfigError: they contradict each other, or a key is not known.
    """
    queues: dict[Queue, Sequence[str] | None] = {"slurm": slurm, "pbs": pbs, "lsf": lsf}
    asked = [f"--{queue}" for queue, pairs in queues.items() if pairs]
    asked += [] if scheduler is None else ["--scheduler"]
    if len(asked) > 1:
        raise ConfigError(f"expected one place to compute in, found {' and '.join(asked)}")
    for queue, pairs in queues.items():
        if pairs:
            if workers is None:
                raise ConfigError(f"--{queue}: expected --workers, how many processes, found none")
            job = _read_job(queue, pairs)
            return ClusterOptions(workers=workers, queue=queue, job=job)
    if scheduler is not None and not _ADDRESS.fullmatch(scheduler):
        raise ConfigError(
            f"--scheduler: expected an address such as tcp://HOST:8786, found {scheduler!r}"
        )
    if memory not in ("auto", "0") and not _suffices(memory):
        raise ConfigError(
            f"--memory: expected a size such as 2GB, of at least {_LEAST_MB}MB, found {memory!r}"
        )
    if scheduler is not None and workers is not None:
        raise ConfigError("--scheduler: expected no --workers, it has its own, found it")
    return ClusterOptions(workers=workers, memory=memory, scheduler=scheduler)


def read_spread(
    workers: int | None,
    memory: str,
    scheduler: str | None,
    slurm: Sequence[str] | None,
    pbs: Sequence[str] | None,
    lsf: Sequence[str] | None,
    wants: str | None,
) -> ClusterOptions | None:
    """Return where several trainings are done at once; None: nobody asked for it.

    `wants` names the options that make several of one, where none of them is given.

    Raises:
        ConfigError: as `read_cluster`, or there is one training only.
    """
    cluster = read_cluster(workers, memory, scheduler, slurm, pbs, lsf)
    if cluster == ClusterOptions():
        return None
    if wants is not None:
        raise ConfigError(f"expected --workers, --scheduler, … with {wants} only")
    return cluster


def _read_job(queue: Queue, pairs: Sequence[str]) -> dict[str, str]:
    try:
        words = [word for pair in pairs for word in shlex.split(pair)]
    except ValueError as error:  # a quotation that does not end
        raise ConfigError(
            f"--{queue}: expected KEY=VALUE, found {' '.join(pairs)!r}: {error}"
        ) from error
    job = dict(word.partition("=")[::2] for word in words)
    known = (*_ON_ALL, *_OF_JOBS[queue])
    wrong = [word for word in words if not word.partition("=")[2]]
    # what else SLURM knows is handed on as it is: its options are KEY=VALUE themselves
    wrong += [key for key in job if key not in known and queue != "slurm"]
    wrong += [f"cores={n}" for n in [job.get("cores", "1")] if not n.isdigit() or int(n) < 1]
    wrong += [f"memory={m}" for m in [job.get("memory", "2GB")] if not _suffices(m)]
    if wrong:
        raise ConfigError(
            f"--{queue}: expected {', '.join(f'{key}=…' for key in known)}, found "
            f"{', '.join(wrong)}"
        )
    return job


def _suffices(memory: str) -> bool:
    """Whether a size is one, and a process can begin with it."""
    found = _SIZE.fullmatch(memory)
    return found is not None and float(found[1]) * _MB[found[2].upper()] >= _LEAST_MB
