"""`hypnod` among packages of others that have the names of ours, and what the wheel brings."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import hypnod
from tests.support.paths import ROOT
from tests.support.recordings.edf import write_channels

OURS = ("daemon", "engines", "models", "tools")
SPAWNS = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

def where():
    import tools
    return tools.__file__

if __name__ == "__main__":
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        print(pool.submit(where).result())
"""
HOOK = """
import sys
from importlib.machinery import PathFinder

class Hook:
    def find_spec(name, path=None, target=None):
        return PathFinder.find_spec(name, [{lab!r}]) if name == "tools" else None

sys.meta_path.insert(0, Hook)
"""


@pytest.fixture
def lab(tmp_path):
    """A folder with packages of our names that cannot even be imported."""
    for name in OURS:
        (tmp_path / "lab" / name).mkdir(parents=True)
        (tmp_path / "lab" / name / "__init__.py").write_text("raise RuntimeError(__file__)")
    return tmp_path / "lab"


@pytest.fixture(params=["in its folder", "on PYTHONPATH"])
def hypnod_there(request, lab, tmp_path):
    """Run `hypnod` where the lab's packages come first."""
    here = request.param == "in its folder"
    path = [ROOT] if here else [lab, ROOT]
    return lambda *arguments: run(lab if here else tmp_path, path, *arguments)


def run(cwd, path, *arguments, start=(sys.executable, "-m", "hypnod")):
    done = subprocess.run(
        [*start, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_every_command_is_ours(hypnod_there):
    code, help_, stderr = hypnod_there("--help")
    assert (code, stderr) == (0, "")
    assert "Usage: hypnod" in help_
    assert "watch" in help_


def test_a_recording_is_scored(hypnod_there, tmp_path):
    rng = np.random.default_rng(0)
    write_channels(tmp_path / "noise.edf", rng.normal(0, 50, (2, 30 * 256)), ("EEG1", "EMG1"), 256)
    csv = tmp_path / "stages.csv"
    code, _, stderr = hypnod_there("score", str(tmp_path / "noise.edf"), "--csv", str(csv))
    assert code == 0, stderr
    assert csv.exists()


def test_the_demo_and_its_children_run(lab, tmp_path):
    """In the lab's folder, which is on PYTHONPATH as well."""
    png = str(tmp_path / "demo.png")
    options = ("--minutes", "0.5", "--speed", "max", "--subjects", "1", "--png", png)
    code, _, stderr = run(lab, [lab, ROOT], "demo", *options)
    assert code == 0, stderr


def test_a_spawned_process_imports_ours(hypnod_there, lab):
    (lab / "spawns.py").write_text(SPAWNS)
    code, found, stderr = hypnod_there("-m", "spawns")
    assert (code, found) == (0, f"{ROOT}/tools/__init__.py\n"), stderr


@pytest.mark.parametrize("start", [hypnod.command(), [sys.executable, "-P", "-m", "hypnod"]])
def test_what_was_imported_under_our_name_before_does_not_stay(lab, start):
    (lab / "tools" / "__init__.py").write_text("")
    (lab / "tools" / "run.py").write_text("")
    (lab / "sitecustomize.py").write_text("import tools.run")
    code, help_, stderr = run(lab, [lab, ROOT], "run", "--help", start=start)
    assert (code, stderr) == (0, "")
    assert "Stage live LSL streams" in help_


def test_a_folder_that_stays_in_the_way_is_named(lab):
    (lab / "sitecustomize.py").write_text(HOOK.format(lab=str(lab)))
    code, _, stderr = run(lab, [lab, ROOT], "--help")
    assert code == 2
    assert stderr.startswith(
        f"hypnod: expected to import tools from {ROOT}, found {lab}/tools in the way; start hypnod"
    )
    assert stderr.count("\n") == 1


def test_the_wheel_brings_what_runs_and_no_more(lab, tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    there = {path.name for path in (tmp_path / "site").iterdir() if path.suffix != ".dist-info"}
    assert there == {"hypnod.py", *OURS}
    assert not (tmp_path / "site" / "models" / "fit").exists()
    static = Path("tools", "web", "static")
    page = [path.relative_to(ROOT / static) for path in (ROOT / static).rglob("*.*")]
    assert len(page) > 10
    assert [path for path in page if not (tmp_path / "site" / static / path).is_file()] == []
    code, help_, stderr = run(lab, [lab, tmp_path / "site"], "--help")
    assert (code, stderr) == (0, "")
    assert "Usage: hypnod" in help_


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads as Linux shows")
def test_small_products_need_no_second_thread():
    code = """if True:
        import contextlib, os, sys, hypnod
        sys.argv = ["hypnod", "--version"]
        with contextlib.suppress(SystemExit):
            hypnod.main()
        import numpy as np
        np.ones((200, 200)) @ np.ones((200, 200))
        print(len(os.listdir("/proc/self/task")))
    """
    environ = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "1"
