"""For tests on a GPU; without one each skips and says why. Nobody has run those of TensorRT yet."""

import numpy as np
import pytest

from engines.bundle import open_bundle
from engines.errors import EngineError
from engines.gpu.flavour import FLAVOURS, version_of
from tests.support.gpu import require_device


@pytest.fixture(scope="session")
def device():
    return require_device()


@pytest.fixture(scope="session", params=FLAVOURS)
def flavour(request, device):
    """Each TensorRT that is installed and knows this GPU."""
    # Here, not above: it needs the package onnx.
    from engines.gpu.plan import check_offered  # noqa: PLC0415

    if not version_of(request.param):
        pytest.skip(f"{request.param} is not installed")
    try:
        check_offered(request.param, device.compute_capability)
    except EngineError as error:
        pytest.skip(str(error))
    return request.param


@pytest.fixture
def random():
    return np.random.default_rng(7)


@pytest.fixture(scope="session")
def shipped():
    return open_bundle()


@pytest.fixture(scope="session", autouse=True)
def plans(tmp_path_factory):
    """Compile anew, so that what is tested was made by this checkout."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CACHE_DIRECTORY", str(tmp_path_factory.mktemp("cache")))
        yield
