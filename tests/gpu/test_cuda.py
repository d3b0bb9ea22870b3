"""The CUDA runtime on a GPU, without TensorRT: memory, the stream, recorded graphs."""

import numpy as np
import pytest

from engines.errors import EngineError
from engines.gpu.cuda import Gpu

pytestmark = pytest.mark.gpu

MIB = 1 << 20


@pytest.fixture
def gpu(device):
    pytest.importorskip("cuda.bindings.runtime", reason="the package cuda-bindings")
    gpu = Gpu()
    yield gpu
    gpu.close()


def test_device_memory_starts_as_zeros_and_keeps_what_is_copied(gpu, random):
    host, there = gpu.pin((64, 128), np.float32), gpu.allocate(64 * 128 * 4)
    back = gpu.pin((64, 128), np.float32)
    back.fill(7)
    gpu.copy(back.ctypes.data, there, back.nbytes)
    gpu.wait()
    assert (back == 0).all()
    host[:] = random.standard_normal(host.shape)
    gpu.copy(there, host.ctypes.data, host.nbytes)
    gpu.copy(back.ctypes.data, there, back.nbytes)
    gpu.wait()
    np.testing.assert_array_equal(back, host)


def test_a_recorded_graph_does_nothing_until_replayed_and_reads_what_is_there_then(gpu, random):
    """As a tick does: host → device, device → ring on the device, ring → host."""
    host, back = gpu.pin((16,), np.float32), gpu.pin((16,), np.float32)
    there, ring = gpu.allocate(host.nbytes), gpu.allocate(host.nbytes)
    host[:] = 1
    with gpu.capture() as captured:
        gpu.copy(there, host.ctypes.data, host.nbytes)
        gpu.copy(ring, there, host.nbytes)
        gpu.copy(back.ctypes.data, ring, host.nbytes)
    gpu.wait()
    assert (back == 0).all()
    for _ in range(100):
        host[:] = random.standard_normal(16)
        gpu.launch(captured[0])
        gpu.wait()
        np.testing.assert_array_equal(back, host)


def test_pieces_side_by_side_are_copied_to_places_apart(gpu, random):
    """As new tokens go into the ring: one slot of three of each row, and of no row before."""
    tokens, back = gpu.pin((5, 4), np.float32), gpu.pin((6, 3, 4), np.float32)
    there, ring = gpu.allocate(tokens.nbytes), gpu.allocate(back.nbytes)
    tokens[:] = random.standard_normal(tokens.shape)
    gpu.copy(there, tokens.ctypes.data, tokens.nbytes)
    gpu.copy_apart(ring + (3 + 2) * 16, 3 * 16, there, 16, 5)
    gpu.copy(back.ctypes.data, ring, back.nbytes)
    gpu.wait()
    np.testing.assert_array_equal(back[1:, 2], tokens)
    assert not back[:, :2].any()
    assert not back[0].any()


def test_an_error_while_recording_leaves_a_stream_that_works(gpu):
    host, there = gpu.pin((4,), np.float32), gpu.allocate(16)
    with pytest.raises(EngineError, match="cudaMemcpyAsync"), gpu.capture():
        gpu.copy(there, 0, 16)
    host[:] = 5
    gpu.copy(there, host.ctypes.data, 16)
    host[:] = 0
    gpu.wait()
    gpu.copy(host.ctypes.data, there, 16)
    gpu.wait()


def test_a_refusal_is_a_sentence(gpu, device):
    with pytest.raises(EngineError, match="GPU: cudaMalloc: expected success, found cudaErrorMem"):
        gpu.allocate(2 * device.memory_bytes)
    gpu.allocate(16)
    gpu.wait()


def test_closing_gives_memory_back(gpu):
    before = gpu.free_bytes()
    other = Gpu()
    other.allocate(256 * MIB)
    other.wait()
    assert before - gpu.free_bytes() >= 256 * MIB
    other.close()
    assert before - gpu.free_bytes() < 64 * MIB
