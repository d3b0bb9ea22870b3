from pathlib import Path

import pytest

from engines.bundle import Bundle, open_bundle
from tests.support.bundles import make_bundle

N_CONTEXT = 5


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A small net with random weights."""
    folder: Path = make_bundle(tmp_path_factory.mktemp("bundle"), n_context=N_CONTEXT)
    return open_bundle(folder)
