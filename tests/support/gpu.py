"""Whether this computer has a GPU, for tests that need one or need that there is none."""

import pytest

from engines.errors import EngineError
from engines.gpu.cuda import GpuDevice, probe


def has_driver() -> bool:
    """Return whether a GPU answers."""
    try:
        probe()
    except EngineError:
        return False
    return True


def require_device() -> GpuDevice:
    """Return the GPU, or skip the test with the reason."""
    try:
        return probe()
    except EngineError as error:
        pytest.skip(str(error))
