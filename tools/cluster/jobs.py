"""Keep as many jobs of a queue as were asked for: what it dropped is submitted again."""

import getpass
import re
from collections.abc import Mapping
from typing import Any

from tools.cluster.errors import ClusterError
from tools.cluster.options import Queue

_LISTS: Mapping[Queue, tuple[str, ...]] = {
    "slurm": ("squeue", "--noheader", "--states=all", "--format=%i %T", "--user"),
    "pbs": ("qselect", "-s", "EHQRSTW", "-u"),
    "lsf": ("bjobs", "-noheader", "-o", "jobid", "-u"),
}
"""What lists a user's jobs, one a line, by number."""
_JOB = re.compile(r"^(\d+)\S*[ \t]*(\S*)", re.MULTILINE)
_ENDED = frozenset(
    (
        *("BOOT_FAIL", "CANCELLED", "COMPLETED", "COMPLETING", "DEADLINE", "FAILED"),
        *("NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"),
    )
)
"""What SLURM still lists some minutes of jobs that are over, or ending."""
_NONE = "No unfinished job found"
"""LSF's failure to list none."""
_REFUSALS = 15
"""In a row, with no job left: then the queue takes none. One that restarts may need minutes."""
_EVERY = 4
"""Look of which the queue is asked, unless a job lost its worker: it has better to do."""
_IN_VAIN = 3
"""Times that jobs ended before a worker came of any: then none will come."""


class Jobs:
    """The jobs of a cluster; told to look every now and then."""

    why: str | None = None
    """Why no worker can be had any more; all work is cancelled then. None: some can."""

    def __init__(self, cluster: Any, queue: Queue, n: int, logs: str) -> None:
        """Keep so many workers.

        Args:
            cluster: of dask-jobqueue, whose first jobs are submitted.
            queue: that has them.
            n: processes that compute.
            logs: where the jobs' own words are.
        """
        self._cluster, self._queue, self._n, self._logs = cluster, queue, n, logs
        self._came: set[str] = set()
        """Jobs that a worker came of."""
        self._looks = self._refusals = self._in_vain = 0

    async def look(self) -> None:
        """Submit again what the queue has no more, and give up where that leads nowhere."""
        self._looks += 1
        has_lost = not self._came.isdisjoint(self._without_workers().values())
        if self.why is None and (has_lost or self._looks % _EVERY == 0):
            self.why = await self._look()
        if self.why is not None:
            scheduler = self._cluster.scheduler
            for name, client in [*scheduler.clients.items()]:
                keys = [task.key for task in client.wants_what]
                scheduler.stimulus_cancel(keys, name, force=True, reason="jobs", msg=self.why)

    async def _look(self) -> str | None:
        """Submit again what the queue has no more; return why that leads nowhere."""
        without = self._without_workers()
        some_work = len(without) < len(self._cluster.workers)
        has = await self._ask() if without else None
        ended = [] if has is None else [name for name in without if without[name] not in has]
        for name in ended:
            await self._drop(name)
        if some_work:
            self._in_vain = 0
        elif any(without[name] not in self._came for name in ended):
            self._in_vain += 1
        if self._in_vain >= _IN_VAIN:
            return (
                f"--{self._queue}: expected a worker of each job, found that jobs end before "
                f"theirs comes; {self._logs} has what they said"
            )
        try:
            await submit(self._cluster, self._n)
        except (OSError, RuntimeError, ValueError) as error:
            self._refusals += 1
            if self._refusals >= _REFUSALS and not self._cluster.workers:
                return str(refusal(self._queue, error))
        else:
            self._refusals = 0
        return None

    def _without_workers(self) -> dict[str, str]:
        """Return which jobs have no worker here, and their number in the queue."""
        cluster = self._cluster
        here = {worker.name for worker in cluster.scheduler.workers.values()}
        without = {}
        for name, job in cluster.workers.items():
            suffixes = cluster.worker_spec.get(name, {}).get("group", [""])
            if here.isdisjoint(f"{name}{suffix}" for suffix in suffixes):
                without[name] = job.job_id
            else:
                self._came.add(job.job_id)
        return without

    async def _ask(self) -> set[str] | None:
        """Return which jobs the queue has; None: it does not say."""
        command = [*_LISTS[self._queue], getpass.getuser()]
        try:
            said = await self._cluster.job_cls._call(command)  # noqa: SLF001  as it calls the queue
        except RuntimeError as error:
            return set() if _NONE in str(error) else None
        except OSError:
            return None
        return {number for number, state in _JOB.findall(said) if state not in _ENDED}

    async def _drop(self, name: str) -> None:
        """Forget a job, so that another one takes its place."""
        from distributed import Status  # noqa: PLC0415  not always installed

        job = self._cluster.workers.pop(name, None)
        if job is not None:  # Dask drops some by itself
            job.status = Status.closed
            await job.close()


async def submit(cluster: Any, n: int) -> None:
    """Submit the jobs that are missing; raises what a queue that takes one of them not raises."""
    from distributed import Status  # noqa: PLC0415  as above

    if cluster.status != Status.running:
        return
    cluster.scale(n)
    try:
        await cluster._correct_state()  # noqa: SLF001  nothing else tells that a job was refused
    except Exception:
        for name, job in [*cluster.workers.items()]:
            if job.job_id is None:
                job.status = Status.failed  # or closing the cluster would complain of it
                del cluster.workers[name]
        raise


def refusal(queue: Queue | None, error: Exception) -> ClusterError:
    """Return what is said where a queue takes no job."""
    said = str(error)
    found = " ".join((said.rpartition("stderr:")[2].strip() or said).split())
    return ClusterError(f"--{queue}: expected the queue to take a job, found: {found}")
