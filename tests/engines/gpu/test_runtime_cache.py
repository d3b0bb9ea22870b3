"""What TensorRT-RTX compiled at one start is known at the next, on a device that is none."""

import pytest

from engines.errors import EngineError
from tests.support import fake_gpu
from tests.support.fake_gpu import DEVICE, FakeGpu, IRuntimeCache

pytest.importorskip("cuda.bindings")


@pytest.fixture
def gpu(tmp_path):
    with FakeGpu().installed(tmp_path) as gpu:
        yield gpu


@pytest.fixture
def start(bundle, gpu):
    """Start and end; return how much was compiled for each plan, and their files of it."""

    def run(flavour="rtx", n_rows=3):
        gpu.compiled.clear()
        engine, plans = fake_gpu.open_module.open_plans(bundle, flavour, n_rows, 1, "fp32")
        engine.close()
        compiled = [what.split()[0] for what in gpu.compiled]
        found = [compiled.count(plan.key.network) for plan in plans]
        return found, [plan.beside(DEVICE, "cache") for plan in plans]

    return run


def test_what_was_compiled_at_a_start_is_not_compiled_at_the_next(start):
    compiled, files = start()
    assert compiled == [3, 3]  # batches of 1, 2 and 3
    assert start() == ([0, 0], files)
    assert start() == ([0, 0], files)


def test_what_more_subjects_need_is_added(start):
    start()
    assert start(n_rows=5)[0] == [4, 4]
    assert start(n_rows=3)[0] == start(n_rows=5)[0] == [0, 0]


@pytest.mark.parametrize(
    "damage",
    [
        lambda mine, other: mine.write_bytes(mine.read_bytes()[:-1]),
        lambda mine, other: mine.write_bytes(mine.read_bytes().replace(b"(1, ", b"(7, ", 1)),
        lambda mine, other: mine.write_bytes(b""),
        lambda mine, other: mine.unlink(),
        lambda mine, other: mine.write_bytes(other.read_bytes()),
    ],
    ids=["cut short", "altered", "empty", "gone", "of another plan"],
)
def test_what_is_damaged_or_of_another_plan_is_compiled_anew(start, damage, monkeypatch):
    """TensorRT-RTX does not see it."""
    _, files = start()
    damage(*files)
    given, real = [], IRuntimeCache.deserialize
    with monkeypatch.context() as patch:
        patch.setattr(IRuntimeCache, "deserialize", lambda *a: given.append(a) or real(*a))
        assert start()[0] == [3, 0]
    assert len(given) == 1
    assert start()[0] == [0, 0]


def test_what_tensorrt_refuses_as_made_elsewhere_is_compiled_anew(start, gpu):
    start()
    gpu.environment = "another"
    assert start()[0] == [3, 3]
    assert start()[0] == [0, 0]


def test_what_a_start_did_not_survive_is_not_taken_again(start, gpu):
    """It may be why."""
    start()
    gpu.failing["cudaGraphLaunch"] = 719
    with pytest.raises(EngineError, match="cudaGraphLaunch"):
        start()
    gpu.failing.clear()
    assert start()[0] == [3, 3]
    assert start()[0] == [0, 0]


def test_tensorrt_keeps_none(start):
    compiled, files = start("tensorrt")
    assert compiled == [0, 0]
    assert not any(file.exists() for file in files)
