"""Where work is spread, as options say it; what a queue is asked for."""

import os
import sys

import pytest

import hypnod
from models.errors import ConfigError
from tools.cluster.open import open_queue
from tools.cluster.options import read_cluster


def read(workers=None, scheduler=None, slurm=None, pbs=None, lsf=None):
    return read_cluster(workers, "auto", scheduler, slurm, pbs, lsf)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"slurm": ["partition=x"]}, "--slurm: expected --workers"),
        ({"scheduler": "tcp://a:1", "pbs": ["queue=x"]}, "found --pbs and --scheduler"),
        ({"scheduler": "tcp://a:1", "workers": 2}, "--scheduler: expected no --workers"),
        ({"workers": 2, "pbs": ["partition=x"]}, "--pbs: expected cores=….* found partition"),
        ({"workers": 2, "lsf": ["queue"]}, "--lsf: expected .* found queue"),
        ({"workers": 2, "slurm": ["cores=0"]}, "--slurm: expected .* found cores=0"),
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
