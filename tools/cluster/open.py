"""Open a Dask cluster: processes of this machine, workers that are there, or jobs of a queue.

Whoever reaches a Dask scheduler can run code as its user. So what is started here speaks TLS with
certificates of its own, made anew each time, and on one machine it listens to nobody else.
"""

import logging
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import hypnod
from models.errors import ConfigError
from tools.cluster.errors import ClusterError
from tools.cluster.jobs import Jobs, refusal, submit
from tools.cluster.options import ClusterOptions, Queue

if TYPE_CHECKING:
    from distributed import Client

_LOOPBACK = "127.0.0.1"
_LINK = {"distributed.dashboard.link": f"{{scheme}}://{_LOOPBACK}:{{port}}/status"}
"""Dask's own names the scheduler's address, where the dashboard does not listen."""
_CONNECT_S = 20
_AGAIN_S = 5.0
"""So often it is seen to that workers are begun that are missing, s."""
_MEMORY = "2GB"
"""Of each process of a queue's job, unless told otherwise."""
_WHEN_FULL = {f"distributed.worker.memory.{what}": False for what in ("target", "spill", "pause")}
"""Dask keeps nothing here that a worker could spill, and one that pauses would never go on: what
it holds is the allocator's. One that reaches its limit is ended all the same."""
_ONE_AT_A_TIME = {"distributed.scheduler.worker-saturation": 1.0}
"""What waits at a worker would share the blame with what ends it."""


@contextmanager
def extra() -> Iterator[None]:
    """Raise ConfigError, with what to install, where something of the extra is missing."""
    try:
        yield
    except ImportError as error:
        raise ConfigError(
            f"expected Dask and PyArrow, found: {error}; install them with: pip install "
            "'hypnod[cluster]'"
        ) from error


@contextmanager
def open_cluster(options: ClusterOptions, shared: Path) -> Iterator["Client"]:
    """Give a client whose workers compute with one thread each; end what was started for it.

    Args:
        options: where.
        shared: folder that the jobs of a queue see too: their logs and certificates go there.

    Raises:
        ConfigError: Dask is not installed.
        ClusterError: the workers cannot be had.
    """
    # what happens to workers is told by what became of their work; theirs to inherit, before import
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "critical")
    with extra():
        # Here, not above: what is not installed is no obstacle to the other commands.
        import dask  # noqa: PLC0415
        from distributed import Client  # noqa: PLC0415
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(_WHEN_FULL | _ONE_AT_A_TIME))
        if options.scheduler is None:
            stack.enter_context(dask.config.set(_LINK))
        where: Any = options.scheduler or stack.enter_context(_start(options, shared))
        try:
            client = Client(where, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ClusterError(
                f"--scheduler: expected a Dask scheduler at {where}, found: {error}"
            ) from error
        yield stack.enter_context(client)


def watched_at(client: "Client", options: ClusterOptions) -> str:
    """Say where the workers can be watched, and how from another machine than this one."""
    link: str = client.dashboard_link
    if options.queue is None:
        return link
    there = f"{_LOOPBACK}:{urlsplit(link).port}"
    return f"{link} (from elsewhere after: ssh -L {there}:{there} {socket.getfqdn()})"


@contextmanager
def _start(options: ClusterOptions, shared: Path) -> Iterator[Any]:
    """Give a cluster in which workers that end, by a job's walltime say, are replaced.

    Dask replaces none that was away for 15 s, as one that begins again on a busy machine may be.

    Raises:
        ClusterError: the queue takes no job, or what it takes brings no worker.
    """
    from tornado.ioloop import PeriodicCallback  # noqa: PLC0415  as above

    n = options.workers or len(os.sched_getaffinity(0))
    jobs = None
    with ExitStack() as stack:
        if options.queue is not None:
            cluster = stack.enter_context(_open_jobs(options, shared))
            jobs = Jobs(cluster, options.queue, n, str(_logs(shared)))
            again = PeriodicCallback(jobs.look, 1e3 * _AGAIN_S)
        else:
            cluster = stack.enter_context(_open_local(n, options.memory))
            again = PeriodicCallback(lambda: cluster.scale(n), 1e3 * _AGAIN_S)
        cluster.loop.add_callback(again.start)
        try:
            yield cluster
        except ClusterError as error:
            if jobs is not None and jobs.why is not None:
                raise ClusterError(jobs.why) from error
            raise
        finally:
            cluster.loop.add_callback(again.stop)


def _open_local(n: int, memory: str) -> Any:
    from distributed import LocalCluster  # noqa: PLC0415  as above

    return LocalCluster(
        n_workers=n,
        threads_per_worker=1,
        memory_limit=memory,
        host=_LOOPBACK,
        dashboard_address=f"{_LOOPBACK}:0",
        security=True,
        silence_logs=logging.CRITICAL,
    )


@contextmanager
def _open_jobs(options: ClusterOptions, shared: Path) -> Iterator[Any]:
    """Give a cluster whose first jobs are submitted.

    Raises:
        ClusterError: the queue takes none.
    """
    with ExitStack() as stack:
        try:
            cluster = stack.enter_context(open_queue(options, shared))
            stack.callback(_remove_certificates, cluster)
            cluster.sync(submit, cluster, options.workers)
        except (OSError, RuntimeError, ValueError) as error:
            raise refusal(options.queue, error) from error
        yield cluster


def _remove_certificates(cluster: Any) -> None:
    """Remove what dask-jobqueue would only with the cluster, which a traceback may hold."""
    for what in ("ca_file", "cert", "key"):
        getattr(cluster, f"_job_{what}").close()


def _logs(shared: Path) -> Path:
    """Return where the jobs of a queue write what they say."""
    return shared / "jobs"


def open_queue(options: ClusterOptions, shared: Path) -> Any:
    """Return a cluster of jobs of a queue, none of which is submitted yet.

    Args:
        options: the queue, and what to ask it for.
        shared: see `open_cluster`.
    """
    import dask_jobqueue  # noqa: PLC0415  as above

    name = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster"}[options.queue or ""]
    cores = int(options.job.get("cores", 1))
    logs = _logs(shared)
    logs.mkdir(parents=True, exist_ok=True)
    return getattr(dask_jobqueue, name)(
        cores=cores,
        processes=cores,
        memory=options.job.get("memory", _MEMORY),
        python=sys.executable,
        job_script_prologue=[
            f"export PYTHONPATH={hypnod.HOME}${{PYTHONPATH:+:$PYTHONPATH}}",
            "export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1",
            *(f"export DASK_{k.upper().replace('.', '__')}={v}" for k, v in _WHEN_FULL.items()),
        ],
        log_directory=str(logs),
        shared_temp_directory=str(shared),
        security=True,
        silence_logs="critical",
        scheduler_options={"dashboard_address": f"{_LOOPBACK}:0"},
        **_asked(options.job, options.queue),
    )


def _asked(job: Mapping[str, str], queue: Queue | None) -> dict[str, Any]:
    """Return what dask-jobqueue calls what a job is asked for."""
    names = {"partition": "queue"} | ({"account": "project"} if queue == "lsf" else {})
    given = ("queue", "walltime", "account", "project", "resource_spec", "interface")
    told = {names.get(key, key): value for key, value in job.items()}
    asked: dict[str, Any] = {key: told[key] for key in given if key in told}
    others = {k: v for k, v in told.items() if k not in (*given, "cores", "memory")}
    if queue == "slurm":
        asked["job_extra_directives"] = [f"--{key}={value}" for key, value in others.items()]
    return asked
