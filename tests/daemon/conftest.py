"""A source and a stream on it, or a bundle for a whole daemon; a test may have its own."""

import uuid

import pytest

from tests.rigs.lsl import Source
from tests.rigs.stream import SFREQ, Rig
from tests.support.bundles import TINY, make_bundle


@pytest.fixture
def name(request):
    """A stream's name, of this run of this test only."""
    return f"{request.node.name}-{uuid.uuid4().hex}"


@pytest.fixture
def source(name):
    with Source(name, sfreq=SFREQ) as source:
        yield source


@pytest.fixture
def rig(name, source):
    """A stream connected to the source, nothing pushed yet."""
    with Rig(name) as rig:
        rig.until_connected()
        yield rig


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """A small net with random weights and a window of 5 epochs; to be left as it is."""
    return make_bundle(tmp_path_factory.mktemp("bundle"), n_context=5, **TINY)
