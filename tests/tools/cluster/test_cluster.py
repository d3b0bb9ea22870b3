"""Where work is spread, as options say it; what a queue is asked for."""

import os
import signal
import socket
import sys
from urllib.parse import urlsplit
from urllib.request import urlopen

import dask
import psutil
import pytest

import hypnod
from models.errors import ConfigError
from tools.cluster import jobs as keeping
from tools.cluster import open as opening
from tools.cluster.errors import ClusterError, WorkersLostError
from tools.cluster.jobs import Jobs, submit
from tools.cluster.open import open_cluster, open_queue, watched_at
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
    monkeypatch.setenv("PATH", str(tmp_path))  # this computer may have a SLURM
    options, shared = read(workers=2, slurm=["partition=x"]), tmp_path / "shared"
    said = "--slurm: expected the queue to take a job, found: sbatch: error: no such partition"
    with pytest.raises(ClusterError, match=said), open_cluster(options, shared):
        pass
    assert [path.name for path in shared.iterdir()] == ["jobs"]
    sbatch.unlink()
    with pytest.raises(ClusterError, match="No such file"), open_cluster(options, shared):
        pass


COMMANDS = {
    "slurm": ("sbatch", "squeue", "scancel", "Submitted batch job $!", "$job RUNNING"),
    "pbs": ("qsub", "qselect", "qdel", "$!.server", "$job.server"),
    "lsf": ("bsub", "bjobs", "bkill", "Job <$!> is submitted to queue <x>.", "$job"),
}
IS_OVER = {"slurm": "echo $job CANCELLED", "pbs": "true", "lsf": "true"}
NONE_LEFT = {
    "slurm": "true",
    "pbs": "true",
    "lsf": "echo 'No unfinished job found' >&2; exit 255",
}


@pytest.fixture
def queue_of(tmp_path, monkeypatch):
    """Give a folder whose commands are a queue's: a job is a session of processes.

    Jobs are refused once it holds a file `refuse`; what `instead` holds is done in place of theirs.
    """

    def make(queue):
        folder = tmp_path / "queue"
        folder.mkdir()
        submit, listing, cancel, said, line = COMMANDS[queue]
        scripts = {
            submit: f"""script=$(mktemp {folder}/XXXX); cat ${{1:-}} > $script; cd {folder}
[ -e refuse ] && {{ echo 'job limit reached' >&2; exit 1; }}
[ -e instead ] && cp instead $script
setsid bash $script > /dev/null 2>&1 &
until kill -0 -- -$! || ! kill -0 $!; do :; done 2> /dev/null  # a session of its own, or over
echo $! >> jobs; echo "{said}" """,
            listing: f"""cd {folder}; left=
for job in $(cat jobs); do
if kill -0 -- -$job; then left=1; echo {line}; else {IS_OVER[queue]}; fi; done
[ $left ] || {{ {NONE_LEFT[queue]}; }}""",
            cancel: "kill -9 -- -${1%%.*}",
        }
        for name, text in scripts.items():
            (folder / name).write_text(f"#!/bin/bash\n{text}\n")
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
        monkeypatch.setattr(opening, "_AGAIN_S", 0.1)
        monkeypatch.setattr(keeping, "_EVERY", 1)
        return folder

    return make


def cancel(job):
    """Return when a job of one process is over."""
    process = psutil.Process(int(job))
    process.kill()
    process.wait()


@pytest.mark.parametrize("queue", COMMANDS)
def test_what_a_queue_dropped_is_submitted_again_and_nothing_else(queue, tmp_path, queue_of):
    folder = queue_of(queue)
    (folder / "instead").write_text("exec sleep infinity\n")  # as one that waits for its turn
    where = "partition=x" if queue == "slurm" else "queue=x"
    with open_queue(read(workers=3, **{queue: [where]}), tmp_path) as cluster:
        cluster.sync(submit, cluster, 3)
        jobs = Jobs(cluster, queue, 3, "logs")
        cluster.sync(jobs.look)
        first, *others = (folder / "jobs").read_text().split()
        assert len(others) == 2
        cancel(first)
        cluster.sync(jobs.look)
        *before, last = (folder / "jobs").read_text().split()
        assert before == [first, *others]
        assert {job.job_id for job in cluster.workers.values()} == {*others, last}
        for job in (*others, last):
            cancel(job)
        cluster.sync(jobs.look)
        assert len((folder / "jobs").read_text().split()) == 7
        (folder / COMMANDS[queue][1]).unlink()  # who cannot be asked has dropped none
        cluster.sync(jobs.look)
        assert len((folder / "jobs").read_text().split()) == 7


def end_the_job(mark):
    """End all processes of the job that does this, the first time."""
    if not mark.exists():
        mark.touch()
        os.killpg(0, signal.SIGKILL)
    return os.getpgid(0)


@pytest.mark.timeout(600)  # six processes begin, two of them after the others
def test_a_job_of_several_processes_that_is_cancelled_is_submitted_again(tmp_path, queue_of):
    folder = queue_of("slurm")
    with open_cluster(read(workers=2, slurm=["partition=x cores=2"]), tmp_path) as client:
        (found,) = dict(work(client, end_the_job, {"a": tmp_path / "mark"})).values()
    assert str(found) in (folder / "jobs").read_text().split()[1:]


def test_a_queue_that_takes_no_job_any_more_ends_the_run_with_what_it_said(
    tmp_path, queue_of, monkeypatch
):
    folder = queue_of("slurm")
    monkeypatch.setattr(keeping, "_REFUSALS", 2)
    said = "--slurm: expected the queue to take a job, found: job limit reached"
    with (
        pytest.raises(ClusterError, match=said),
        open_cluster(read(workers=1, slurm=["partition=x"]), tmp_path) as client,
    ):
        dict(work(client, end_the_job, {"a": folder / "refuse"}))


def test_jobs_that_all_end_without_a_worker_end_the_run(tmp_path, queue_of):
    folder = queue_of("slurm")
    (folder / "instead").write_text("exit 1\n")
    said = f"--slurm: expected a worker of each job, .* {tmp_path}/jobs has what they said"
    with (
        pytest.raises(ClusterError, match=said),
        open_cluster(read(workers=2, slurm=["partition=x"]), tmp_path) as client,
    ):
        dict(work(client, die_of, {"a": "a"}))


def test_a_queue_s_dashboard_listens_to_this_machine_alone_and_ssh_leads_there(tmp_path, queue_of):
    (queue_of("slurm") / "instead").write_text("exec sleep infinity\n")
    options = read(workers=1, slurm=["partition=x"])
    with open_cluster(options, tmp_path) as client:
        link, _, how = watched_at(client, options).partition(" ")
        at = urlsplit(link)
        assert how == f"(from elsewhere after: ssh -L {at.netloc}:{at.netloc} {socket.getfqdn()})"
        urlopen(link).close()
        outside = urlsplit(client.scheduler.address).hostname, at.port
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(outside)


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
