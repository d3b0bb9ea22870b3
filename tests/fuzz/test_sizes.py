"""Files that declare absurd sizes are refused in one sentence, and take no memory meanwhile."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from scipy import io

from tests.fuzz.bombs import all_bombs
from tests.support.paths import ROOT

_LITTLE_MB = 300
"""What the imports take, and a little more."""


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """What became of each file, by name."""
    folder = tmp_path_factory.mktemp("bombs")
    for name, content, _ in all_bombs():
        (folder / name).write_bytes(content)
    silent = {"eeg": np.zeros(3_000_000), "emg": np.zeros(3_000_000), "eeg_frequency": 512.0}
    io.savemat(folder / "silent.mat", silent, do_compression=True)
    paths = sorted(folder.iterdir())
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.limited", *map(str, paths)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    lines = map(json.loads, done.stdout.splitlines())
    return {path.name: line for path, line in zip(paths, lines, strict=True)}


@pytest.mark.parametrize(("name", "words"), [(name, words) for name, _, words in all_bombs()])
def test_a_file_that_declares_too_much_is_refused(read, name, words):
    assert re.search(words, read[name]["found"]), read[name]
    assert "\n" not in read[name]["found"]
    assert read[name]["peak_mb"] < _LITTLE_MB


def test_a_recording_of_silence_packs_well_and_is_read(read):
    assert read["silent.mat"]["found"] == "3000000 samples"
