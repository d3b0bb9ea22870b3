import numpy as np
import pytest

from engines.bundle import Bundle, open_bundle
from tests.support.bundles import human_spec, make_bundle, make_bundle_of
from tests.support.engines import ENGINES, open_kind


@pytest.fixture(scope="session")
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """sDREAMER as its paper has it, or the model that the test asks for, with random weights."""
    folder = tmp_path_factory.mktemp("bundle")
    if getattr(request, "param", "sdreamer") == "sdreamer":
        return open_bundle(make_bundle(folder))
    return open_bundle(make_bundle_of(human_spec(), folder))


@pytest.fixture(params=ENGINES)
def open_here(request, bundle):
    """Open an engine of the kind under test: open_here(n_rows, hops_per_epoch)."""
    opened = []

    def open_one(n_rows=3, hops_per_epoch=1):
        engine = open_kind(bundle, request.param, n_rows, hops_per_epoch)
        opened.append(engine)
        return engine

    yield open_one
    for engine in opened:
        engine.close()


@pytest.fixture
def random():
    return np.random.default_rng(7)
