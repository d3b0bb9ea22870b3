import subprocess
import sys

import msgspec
import pytest

from engines.bundle import open_bundle
from engines.errors import EngineError
from models.errors import SpecError
from tests.rigs.gpu_check import Outcome, read_results
from tests.support.bundles import mouse_spec
from tests.support.gpu import has_driver
from tools.bench import steps as bench_steps
from tools.bench.bundle import make_bundle
from tools.bench.peak import measure_peak
from tools.bench.steps import count_work, draw, time_steps

XML = """<testsuites><testsuite>
<testcase classname="tests.gpu.test_tensorrt" name="test_parity[rtx-fp16]"><properties>
<property name="max_abs_difference" value="0.0012"/></properties></testcase>
<testcase classname="tests.gpu.test_tensorrt" name="test_subjects[1024]">
<failure message="out of memory">trace</failure></testcase>
<testcase classname="a" name="b"><skipped message="tensorrt is not installed"/></testcase>
</testsuite></testsuites>"""


@pytest.mark.skipif(has_driver(), reason="this computer has an NVIDIA driver")
def test_without_a_gpu_it_says_so_and_writes_nothing(tmp_path):
    out = tmp_path / "gpu-check.json"
    command = [sys.executable, "-m", "tests.rigs.gpu_check", "--out", out]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == EngineError.exit_code
    assert done.stderr.startswith("hypnod: expected an NVIDIA driver (libcuda.so.1), found none")
    assert not out.exists()


def test_what_the_tests_found_is_read(tmp_path):
    file = tmp_path / "tests.xml"
    file.write_text(XML)
    passed, failed, skipped = read_results(file)
    assert passed == Outcome(
        name="tests.gpu.test_tensorrt::test_parity[rtx-fp16]",
        outcome="passed",
        message="",
        measured={"max_abs_difference": "0.0012"},
    )
    assert (failed.outcome, failed.message) == ("failed", "out of memory")
    assert (skipped.outcome, skipped.message) == ("skipped", "tensorrt is not installed")


def test_work_of_the_paper_s_net(tmp_path):
    """Counted by hand: 2 modalities of 33 tokens, 2 layers; 32 tokens, 3 layers; 16 slots."""
    work = count_work(make_bundle(tmp_path / "paper", 16))
    encode = 2 * (32 * (16 * 128 + 128**2) + 2 * 33 * (12 * 128**2 + 2 * 33 * 128) + 128**2)
    sequence = 3 * 32 * (12 * 128**2 + 2 * 32 * 128) + 16 * 2 * 128**2
    heads = 16 * (128 * 256 + 256 * 3)
    assert work.flops == 2 * (encode + sequence + heads)
    assert work.bytes_each == 4 * (2 * 512 + 15 * 2 * 128 + 16 * 3 + 2 * 128)


def test_work_of_another_architecture_is_not_guessed():
    bundle = open_bundle()
    spec = msgspec.structs.replace(mouse_spec(), model="other")
    manifest = msgspec.structs.replace(bundle.manifest, spec=spec)
    with pytest.raises(SpecError, match="model: expected one of sdreamer, found 'other'"):
        count_work(type(bundle)(bundle.path, manifest, bundle.hash))


def test_steps_are_timed_against_the_peak(monkeypatch):
    monkeypatch.setattr(bench_steps, "BATCHES", (1, 3))
    monkeypatch.setattr(bench_steps, "_REPEATS", 5)
    report = time_steps(open_bundle(), ("onnxruntime",), (1,))
    assert [(s.engine, s.threads, s.subjects) for s in report.steps] == [
        ("onnxruntime", 1, 1),
        ("onnxruntime", 1, 3),
    ]
    assert all(s.ms > 0 and s.bound_ms > 0 for s in report.steps)
    assert draw(report).row_count == 2


def test_peak_is_that_of_a_process_with_so_many_threads():
    peak = measure_peak(1)
    assert peak.threads == 1
    assert peak.gflops > 0.1
    assert peak.gb_per_s > 0.1
