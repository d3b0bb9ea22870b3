"""SIGKILL at random moments: nothing that was published is lost, and staging goes on."""

import pytest

from engines.bundle import open_bundle
from tests.rigs.kill.run import KillRun
from tests.support.bundles import TINY, change_manifest, make_bundle, mouse_grammar

pytestmark = pytest.mark.timeout(400)  # five starts of the daemon, whatever else runs


@pytest.fixture(params=[(False, 1.0), (True, 0.25)], ids=["samples", "levels, a short hop"])
def run(request, tmp_path):
    levels, hop_s = request.param
    made = make_bundle(tmp_path, n_context=16, levels=levels, **TINY)
    bundle = open_bundle(change_manifest(made, grammar=mouse_grammar()))
    with KillRun(tmp_path, bundle, seed=3, hop_s=hop_s) as run:
        yield run


def test_a_killed_daemon_loses_nothing_and_goes_on(run):
    report = run.run(5)
    assert report.problems == []
    assert report.worst_difference < 1e-5
    assert report.warm >= 2
    assert report.epochs == report.finals > 50
    assert report.compared == report.epochs + report.finals
    assert report.heard > 100
