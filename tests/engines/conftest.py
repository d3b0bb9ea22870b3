from pathlib import Path

import numpy as np
import pytest

from engines.bundle import Bundle, open_bundle
from tests.support.bundles import make_bundle
from tests.support.engines import ENGINES, open_kind


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The paper's net with random weights."""
    folder: Path = make_bundle(tmp_path_factory.mktemp("bundle"))
    return open_bundle(folder)


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
