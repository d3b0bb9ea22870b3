"""SIGKILL at random moments: nothing that was published is lost, and staging goes on."""

import pytest

from engines.bundle import open_bundle
from tests.rigs.kill.run import KillRun
from tests.support.bundles import TINY, change_manifest, make_bundle, mouse_grammar


@pytest.fixture(params=[False, True], ids=["samples", "levels"])
def run(request, tmp_path):
    made = make_bundle(tmp_path, n_context=16, levels=request.param, **TINY)
    bundle = open_bundle(change_manifest(made, grammar=mouse_grammar()))
    with KillRun(tmp_path, bundle, seed=3) as run:
        yield run


def test_a_killed_daemon_loses_nothing_and_goes_on(run):
    report = run.run(5)
    assert report.problems == []
    assert report.worst_difference < 1e-5
    assert report.warm >= 2
    assert report.epochs == report.finals > 50
    assert report.compared == report.epochs + report.finals
    assert report.heard > 100
