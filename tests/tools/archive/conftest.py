"""A lab's archive: simulated mice as files, a small bundle, and a real cluster of processes."""

import json

import pytest
from distributed import LocalCluster
from typer.testing import CliRunner

from engines.bundle import open_bundle
from tests.support.bundles import TINY, any_reference, change_manifest, make_bundle, mouse_grammar
from tools.cli import app


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """With all that a bundle may have."""
    made = make_bundle(tmp_path_factory.mktemp("bundle"), **TINY)
    reference = any_reference(open_bundle(made).spec)
    return change_manifest(made, reference=reference, grammar=mouse_grammar())


@pytest.fixture(scope="package")
def cluster():
    """Two processes of this machine, by their address: starting them takes seconds.

    They end with these tests, since their scheduler draws from `random`, and Hypothesis takes that
    for a strategy that does.
    """
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",  # any: other suites may run here
        silence_logs=50,
    ) as started:
        yield started


@pytest.fixture
def archive(bundle):
    """Run `hypnod archive`; return the JSON it prints, or raise what it raises."""

    def run(command, *arguments, fails_with=None):
        staged_by = ["--bundle", str(bundle)] if command in ("score", "evaluate") else []
        words = ["archive", command, *map(str, arguments), *staged_by, "--json"]
        result = CliRunner().invoke(app, words)
        if fails_with is not None:
            assert isinstance(result.exception, fails_with), result.output
            return str(result.exception), result.stdout
        if result.exception is not None:
            raise result.exception
        return json.loads(result.stdout)

    return run
