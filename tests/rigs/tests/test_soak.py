"""The soak's own arithmetic: it must find what is lost, and know what is due."""

import math
from pathlib import Path

import numpy as np
import pytest

from engines.bundle import open_bundle
from models.simulator.mouse.simulate import channel_names
from tests.rigs.soak.plan import SoakPlan, as_argument, draw_plan, expected_epochs, may_kill
from tests.rigs.soak.record import Rows, account
from tests.rigs.soak.run import Soak
from tests.support.bundles import human_spec, make_bundle_of
from tools.replay.fault_plan import Fault, parse_fault


def rows(*messages: tuple[int, int, str]) -> Rows:
    """Return messages of (seq, epoch, kind)."""
    found = [
        (2 * seq + (kind == "final"), 2 * epoch + (kind == "final"))
        for seq, epoch, kind in messages
    ]
    return np.array(found, np.int64).reshape(-1, 2)


WHOLE = rows((0, 0, "live"), (1, 1, "live"), (0, 0, "final"), (1, 1, "final"))


def test_a_whole_record_is_whole() -> None:
    found = account(2, WHOLE, WHOLE)
    assert found.is_whole
    assert (found.lost, found.journalled, found.received) == (0, 4, 4)


def test_epochs_after_the_last_sample_are_no_part_of_it() -> None:
    more = np.concatenate([WHOLE, rows((2, 2, "live"), (2, 2, "final"))])
    assert account(2, more, more).is_whole
    assert not account(4, more, more).is_whole


@pytest.mark.parametrize(
    ("journal", "received", "lost", "duplicates", "seq_gaps", "differing"),
    [
        (WHOLE, WHOLE[:3], 1, 0, 0, 0),
        (WHOLE, WHOLE[[0, 1, 3]], 1, 0, 1, 0),
        (WHOLE, WHOLE[[0, 1, 1, 2, 3]], 0, 2, 0, 0),
        (WHOLE[[0, 1, 3]], WHOLE, 1, 0, 1, 1),
        (WHOLE, rows((0, 0, "live"), (1, 0, "live"), (0, 0, "final"), (1, 1, "final")), 1, 1, 0, 1),
    ],
    ids=["end", "gap", "twice", "not-journalled", "other"],
)
def test_what_is_wrong_is_found(
    journal: Rows, received: Rows, lost: int, duplicates: int, seq_gaps: int, differing: int
) -> None:
    found = account(2, journal, received)
    assert not found.is_whole
    assert (found.lost, found.duplicates) == (lost, duplicates)
    assert (found.seq_gaps, found.differing) == (seq_gaps, differing)


def draw(seed: int) -> SoakPlan:
    return draw_plan(seed, 12, channel_names(8), n_streams=2, n_kills=10, storm_per_h=20)


@pytest.mark.parametrize("seed", range(5))
def test_a_plan_is_a_function_of_its_seed_and_ends_in_mid_epoch(seed: int) -> None:
    plan = draw(seed)
    assert plan == draw(seed) != draw(seed + 1)
    assert len(plan.kills) == 10
    for storm in plan.storms:
        assert len(storm) > 150
        assert storm[-1].end < plan.duration_s
        forward = sum(f.amount for f in storm if f.kind == "clock-jump" and f.amount > 0)
        drift = sum(f.amount * 1e-6 * f.duration for f in storm if f.kind == "drift")
        ends = plan.duration_s + forward + drift
        assert expected_epochs(plan, storm) == math.floor(ends)
        assert 0.05 < ends % 1.0 < 0.95


def test_epochs_that_overlap_are_counted_by_their_hops() -> None:
    plan = draw_plan(1, 1, ("EEG1",), n_streams=1, n_kills=0, storm_per_h=0, hop_s=5.0)
    assert 0.05 < plan.duration_s / 5.0 % 1.0 < 0.95
    assert 3600 <= plan.duration_s < 3605
    assert expected_epochs(plan, (), 30.0, 5.0) == 715  # onsets from 0 to 3570 s


@pytest.mark.timeout(300)  # a start of the daemon and of the replay, whatever else runs
@pytest.mark.usefixtures("forked_children")
def test_a_short_soak_of_people_is_whole(tmp_path: Path) -> None:
    bundle = open_bundle(make_bundle_of(human_spec(), tmp_path))
    report = Soak(bundle, 0.05, 2, seed=0, kills=0, storm=20.0, folder=tmp_path).run()
    assert report.ok
    assert report.epochs_expected == 2 * 45  # of 4 s


def test_a_fault_survives_the_command_line() -> None:
    for fault in draw(0).storms[0]:
        again = parse_fault(as_argument(fault))
        assert (again.kind, again.amount, again.channel) == (
            fault.kind,
            fault.amount,
            fault.channel,
        )
        assert again.start == pytest.approx(fault.start, abs=1e-3)
        assert again.duration == pytest.approx(fault.duration, abs=1e-3)


def test_no_kill_hides_a_jump_of_the_clock_or_makes_a_gap_too_long() -> None:
    storm = (
        Fault("clock-jump", 1000.0, 60.0, 2.0),
        Fault("flat", 1500.0, 30.0, 0.0, "EEG1"),
        Fault("gap", 2000.0, 10.0, 0.0),
    )
    assert [may_kill(storm, k) for k in (900, 1000, 1100, 1510)] == [True, False, True, True]
    assert [may_kill(storm, k) for k in (1950, 1990, 2056, 2058)] == [True, False, False, True]
