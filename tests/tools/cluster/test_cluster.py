"""Where work is spread, as options say it; what a queue is asked for."""

import os
import signal
import sys

import dask
import pytest

import hypnod
from models.errors import ConfigError
from tools.cluster import open as opening
from tools.cluster.errors import ClusterError, WorkersLostError
from tools.cluster.open import open_cluster, open_queue
from tools.cluster.options import read_cluster
from tools.cluster.work import work


def read(workers=None, memory="auto", scheduler=None, slurm=None, pbs=None, lsf=None):
    return read_cluster(workers, memory, scheduler, slurm, pbs, lsf)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"slurm": ["partition=x"]}, "--slurm: expected --workers"),
        ({"scheduler": "tcp://a:1", "pbs": ["queue=x"]}, "found --pbs and --scheduler"),
        ({"scheduler": "tcp://a:1", "workers": 2}, "--scheduler: expected no --workers"),
        ({"workers": 2, "pbs": ["partition=x"]}, "--pbs: expected cores=….* found partition"),
        ({"workers": 2, "lsf": ["queue"]}, "--lsf: expected .* found queue"),
        ({"workers": 2, "slurm": ["cores=0"]}, "--slurm: expected .* found cores=0"),
        ({"workers": 2, "slurm": ["memory=lots"]}, "--slurm: expected .* found memory=lots"),
        ({"workers": 2, "slurm": ["qos='low"]}, "--slurm: expected KEY=VALUE, found .*quotation"),
        ({"scheduler": "node1"}, "--scheduler: expected an address such as .* found 'node1'"),
        ({"scheduler": ""}, "--scheduler: expected an address such as .* found ''"),
        ({"memory": "much"}, "--memory: expected a size such as 2GB, .* found 'much'"),
        ({"memory": "2"}, "--memory: expected a size such as 2GB, .* found '2'"),
        ({"memory": "50MB"}, "--memory: expected a size .* of at least 200MB, found '50MB'"),
    ],
)
def test_options_that_contradict_each_other_are_one_sentence(options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        read(**options)


DIRECTIVES = {
    "slurm": {"-p short", "-A lab", "-t 04:00:00", "--cpus-per-task=4", "--qos=low"},
    "pbs": {"-q short", "-A lab", "-l walltime=04:00:00", "-l select=1:ncpus=4:mem=7630MB"},
    "lsf": {"-q short", '-P "lab"', "-W 04:00", "-n 4", "-M 8000000"},
}


@pytest.mark.parametrize("queue", DIRECTIVES)
def test_the_job_asks_the_queue_for_what_its_manual_says(queue, tmp_path):
    where = "partition=short qos=low" if queue == "slurm" else "queue=short"
    walltime = "04:00" if queue == "lsf" else "04:00:00"
    pairs = [f"{where} account=lab walltime={walltime}", "memory=8GB cores=4"]
    with open_queue(read(workers=8, **{queue: pairs}), tmp_path) as cluster:
        lines = cluster.job_script().splitlines()
    mark = {"slurm": "#SBATCH ", "pbs": "#PBS ", "lsf": "#BSUB "}[queue]
    asked = {line.removeprefix(mark) for line in lines if line.startswith(mark)}
    assert asked >= DIRECTIVES[queue], asked
    if queue == "slurm":
        assert "--mem=8G" in asked
    (command,) = [line for line in lines if "dask_worker" in line or "dask worker" in line]
    assert command.startswith(sys.executable)
    assert "tls://" in command
    assert "--nthreads 1" in command
    assert "--nworkers 4" in command
    path = next(line for line in lines if line.startswith("export PYTHONPATH="))
    assert str(hypnod.HOME) in path.partition("=")[2].split("$")[0]
    assert not [p for p in tmp_path.iterdir() if p.stat().st_mode & 0o077 and p.is_file()]
    assert os.fspath(tmp_path) in command
    assert "export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=False" in lines


def test_a_queue_that_takes_no_job_is_one_sentence(tmp_path, monkeypatch):
    sbatch = tmp_path / "sbatch"
    sbatch.write_text("#!/bin/sh\necho 'sbatch: error: no such partition' >&2; exit 1\n")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    options, shared = read(workers=2, slurm=["partition=x"]), tmp_path / "shared"
    said = "--slurm: expected the queue to take a job, found: sbatch: error: no such partition"
    with pytest.raises(ClusterError, match=said), open_cluster(options, shared):
        pass
    assert [path.name for path in shared.iterdir()] == ["jobs"]
    sbatch.unlink()
    with pytest.raises(ClusterError, match="No such file"), open_cluster(options, shared):
        pass


def die_of(name):
    if name == "poison":
        os.kill(os.getpid(), signal.SIGKILL)
    return name


def test_what_ends_every_worker_takes_nothing_with_it(tmp_path, monkeypatch):
    """Each is given up as soon as it is lost, as one that begins again on a busy machine may be."""
    monkeypatch.setattr(opening, "_AGAIN_S", 0.1)
    tasks = {name: name for name in ("poison", "a", "b", "c")}
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "0s"}),
        open_cluster(read(workers=1), tmp_path) as client,
    ):
        found = dict(work(client, die_of, tasks))
    assert isinstance(found.pop("poison"), WorkersLostError)
    assert found == {name: name for name in "abc"}


def test_a_worker_near_its_limit_goes_on(tmp_path):
    """One that paused would wait for memory that nobody gives back, and the run for it."""
    with open_cluster(read(workers=1, memory="1GB"), tmp_path) as client:
        found = client.run(lambda dask_worker: dask_worker.memory_manager.memory_pause_fraction)
        limits = client.run(lambda dask_worker: dask_worker.memory_manager.memory_limit)
    assert [*found.values()] == [False]
    assert [*limits.values()] == [10**9]
