"""Which rows `make chaos` runs, and one of them; all of them take minutes."""

from pathlib import Path

import pytest

from engines.bundle import open_bundle
from models.errors import ConfigError
from tests.rigs.chaos.run import choose, main, run, scenarios
from tests.support.bundles import human_spec, make_bundle_of, mouse_spec

N = len(scenarios(mouse_spec()))


def test_the_scenarios_asked_for_are_chosen_and_no_others() -> None:
    assert choose(["3", "1"], N) == [1, 3]
    assert choose([], N) == list(range(N))


@pytest.mark.parametrize("number", ["gap", "-1", str(N)])
def test_a_scenario_that_is_not_there_ends_the_run(number: str) -> None:
    """It used to run nothing, and to find all as expected."""
    with pytest.raises(SystemExit, match=f"expected numbers of scenarios, .* found '{number}'"):
        choose(["1", number], N)


@pytest.mark.parametrize(("hop_s", "hops"), [(None, [1, 4, 1]), (0.25, [4, 4, 4]), (1.0, [1] * 3)])
def test_every_scenario_has_the_hop_asked_for_or_every_other_one_a_short_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hop_s: float | None, hops: list[int]
) -> None:
    bundle, found = make_bundle_of(mouse_spec(), tmp_path), []
    monkeypatch.setattr("tests.rigs.chaos.run.run", lambda *given: found.append(given[3]) or ())
    with pytest.raises(SystemExit, match=r"^False$"):
        main(["0", "1", "2"], bundle, hop=hop_s)
    assert found == hops


def test_a_hop_that_is_no_fraction_of_an_epoch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--hop: expected a whole fraction of the epoch of 1 s"):
        main(["0"], make_bundle_of(mouse_spec(), tmp_path), hop=0.3)


def test_faults_are_as_long_as_the_epochs_need() -> None:
    mouse, person = scenarios(mouse_spec()), scenarios(human_spec(epoch_s=30.0))
    assert len(mouse) == len(person)
    assert (mouse[-7].faults, person[-7].faults) == (("nan@6+4:EMG",), ("nan@35+120:EOG",))


@pytest.mark.usefixtures("forked_children")
def test_a_person_s_lost_eog_is_told_and_the_eeg_read_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LSLAPICFG", "")  # what confines it to this rehearsal is put back after it
    bundle = open_bundle(make_bundle_of(human_spec(), tmp_path))
    (row,) = run(scenarios(bundle.spec)[-7], tmp_path / "chaos", bundle, hops=4)
    assert row.good, row
    assert row.seen == "staged from mixed: eog not_finite"
