"""Finding a GPU, with libraries that behave as drivers do; and CUDA's own runtime without one."""

import shutil
import subprocess
import sys

import pytest

from engines.errors import EngineError
from engines.gpu import cuda
from engines.gpu.cuda import LIBRARY, Gpu, describe_hardware, probe
from tests.support.gpu import has_driver

DRIVER = """
#include <string.h>
int cuInit(unsigned flags) { return INIT; }
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
int cuDeviceGet(int *device, int i) { *device = i; return 0; }
int cuDeviceGetAttribute(int *x, int what, int device) { *x = what == 75 ? 8 : 9; return 0; }
int cuDeviceGetName(char *name, int n, int device) { strncpy(name, "GeForce", n); return 0; }
int cuDeviceGetUuid_v2(char *uuid, int device) { memset(uuid, 0xab, 16); return 0; }
int cuDeviceTotalMem_v2(size_t *n, int device) { *n = (size_t)24 << 30; return 0; }
int cuDriverGetVersion(int *version) { *version = 13020; return 0; }
"""


@pytest.fixture
def make_driver(tmp_path):
    """Compile a library that answers as a driver does."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to make a library that answers as a driver")

    def make(source=DRIVER, init=0, count=1):
        code, library = tmp_path / "driver.c", tmp_path / f"libcuda-{init}-{count}.so"
        code.write_text(source)
        flags = ["-shared", "-fPIC", f"-DINIT={init}", f"-DCOUNT={count}"]
        subprocess.run([compiler, *flags, "-o", library, code], check=True)
        return str(library)

    return make


def test_no_driver_is_a_sentence():
    with pytest.raises(EngineError, match=r"an NVIDIA driver \(libno\.so\.1\), found none: libno"):
        probe("libno.so.1")


@pytest.mark.skipif(has_driver(), reason="this computer has an NVIDIA driver")
def test_this_computer_has_no_driver():
    with pytest.raises(EngineError, match=rf"expected an NVIDIA driver \({LIBRARY}\), found none"):
        probe()


def test_device_is_described(make_driver):
    device = probe(make_driver())
    assert (device.name, device.compute_capability) == ("GeForce", "8.9")
    assert (device.uuid, device.memory_bytes) == ("ab" * 16, 24 << 30)
    assert device.driver


@pytest.mark.parametrize(
    ("init", "count", "complaint"),
    [
        (100, 1, r"cuInit gives 100 \(no device\)"),
        (999, 1, r"cuInit gives 999 \(unknown error; was the driver updated"),
        (7, 1, r"cuInit gives 7 \(see CUresult"),
        (0, 0, "expected a GPU, found the driver .* with 0 devices"),
    ],
)
def test_driver_that_offers_no_device_says_why(make_driver, init, count, complaint):
    with pytest.raises(EngineError, match=complaint):
        probe(make_driver(init=init, count=count))


def test_library_that_is_no_driver_is_refused(make_driver):
    with pytest.raises(EngineError, match="found a library without cuInit"):
        probe(make_driver("int other(void) { return 0; }"))


def test_what_the_kernel_tells_of_driver_and_gpus(tmp_path, monkeypatch):
    """But not what differs from boot to boot."""
    monkeypatch.setattr(cuda, "_DRIVER_FILE", tmp_path / "version")
    monkeypatch.setattr(cuda, "_GPUS", tmp_path / "gpus")
    assert not describe_hardware()
    gpu = tmp_path / "gpus" / "0000:01:00.0"
    gpu.mkdir(parents=True)
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06\n")
    (gpu / "information").write_text(
        "Model: \t\t NVIDIA GeForce\nIRQ:   \t\t 57\nGPU UUID: \t GPU-12ab\nDevice Minor: \t 0\n"
    )
    assert describe_hardware() == "580.65.06; Model: NVIDIA GeForce; GPU UUID: GPU-12ab"


CALLS = """
from engines.gpu.cuda import Gpu
from engines.errors import EngineError
from cuda.bindings import runtime

gpu = object.__new__(Gpu)
gpu._runtime, gpu.stream = runtime, 0
calls = {
    "pin": lambda: gpu.pin((2, 3), "f4"),
    "allocate": lambda: gpu.allocate(16),
    "copy": lambda: gpu.copy(16, 32, 8),
    "copy_apart": lambda: gpu.copy_apart(16, 8, 32, 8, 2),
    "wait": lambda: gpu.wait(),
    "capture": lambda: gpu.capture().__enter__(),
    "launch": lambda: gpu.launch(0),
    "free_bytes": lambda: gpu.free_bytes(),
}
for name, call in calls.items():
    try:
        call()
    except EngineError as error:
        print(name, error)
"""


@pytest.mark.skipif(has_driver(), reason="this computer has an NVIDIA driver")
def test_every_call_reaches_cuda_and_its_refusal_is_a_sentence():
    """The real bindings take these arguments; without a driver each call answers with 35."""
    pytest.importorskip("cuda.bindings")
    done = subprocess.run([sys.executable, "-c", CALLS], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [
        "pin", "allocate", "copy", "copy_apart", "wait", "capture", "launch", "free_bytes"
    ]  # fmt: skip
    for line in lines:
        assert line.endswith("expected success, found cudaErrorInsufficientDriver (35)"), line


@pytest.mark.skipif(has_driver(), reason="this computer has an NVIDIA driver")
def test_opening_a_gpu_without_a_driver_is_a_sentence():
    pytest.importorskip("cuda.bindings")
    with pytest.raises(EngineError, match="GPU: cudaSetDevice: expected success, found cudaErr"):
        Gpu()
