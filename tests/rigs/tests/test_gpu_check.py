import subprocess
import sys

import pytest

from engines.errors import EngineError
from tests.rigs.bench.gpu_check import Outcome, read_results
from tests.support.gpu import has_driver

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
    command = [sys.executable, "-m", "tests.rigs.bench.gpu_check", "--out", out]
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
