"""The rig that judges the rules of docs/triggers; its figures take minutes."""

from pathlib import Path

from engines.bundle import open_bundle
from models.training.simulated import FIRST_UNSEEN_SEED
from tests.rigs.closed_loop import hop_of, look_at_simulated, rule_of, tabulate
from tests.support.bundles import human_spec, make_bundle_of


def test_a_person_s_rule_is_looked_at_by_the_bundle_of_people(tmp_path: Path) -> None:
    bundle = open_bundle(make_bundle_of(human_spec(), tmp_path))
    assert (rule_of("human").stages, hop_of(bundle.spec)) == (("N3",), 1.0)
    row = look_at_simulated(bundle, 0.1, FIRST_UNSEEN_SEED)
    (verdict,) = row.verdicts
    assert row.pulses == verdict.right + verdict.false == 0  # within the twenty minutes left out
    assert 0 < verdict.scored_h <= 0.1
    assert "| 0 of 0 |" in tabulate([row], ("seed",))
