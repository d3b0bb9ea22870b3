"""SIGKILL at random moments: nothing that was published is lost, and staging goes on."""

import pytest

from engines.bundle import open_bundle
from models.grammar import grammar_of
from tests.rigs.kill.run import KillRun
from tests.support.bundles import TINY, change_manifest, human_levels, make_bundle, make_bundle_of

pytestmark = [
    pytest.mark.timeout(400),  # five starts of the daemon, whatever else runs
    pytest.mark.usefixtures("forked_children"),
]


@pytest.fixture(
    params=[("mouse", False, 1.0), ("mouse", True, 0.25), ("human", True, 1.0)],
    ids=["samples", "levels, a short hop", "people, a short hop"],
)
def run(request, tmp_path):
    species, levels, hop_s = request.param
    if species == "human":
        made = make_bundle_of(human_levels(), tmp_path)
    else:
        made = make_bundle(tmp_path, n_context=16, levels=levels, **TINY)
    bundle = open_bundle(change_manifest(made, grammar=grammar_of(species, 0.4, 0.3)))
    with KillRun(tmp_path, bundle, seed=3, hop_s=hop_s) as run:
        yield run


def test_a_killed_daemon_loses_nothing_and_goes_on(run):
    report = run.run(5)
    assert report.problems == []
    assert report.worst_difference < 1e-5
    assert report.warm >= 2
    assert report.epochs > 50
    assert report.finals == report.due
    assert report.compared == report.epochs + report.finals
    assert report.heard > 100
