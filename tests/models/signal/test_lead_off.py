"""A lead that comes off: told within seconds, next to never of a brain; no stage changes."""

from functools import partial

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from models.signal.lead_off import read_lead_off_rule
from models.signal.no_brain import check_for
from models.signal.pipeline import EpochBatch, Pipeline
from models.signal.quality import OK
from models.simulator.no_brain import KINDS, draw_no_brain
from models.training.simulated import simulate_subject
from tests.rigs.no_brain import draw_lead, look_at_simulated, off_of, read
from tests.support import signals
from tests.support.signals import SPEC, description, run, stream_config

SFREQ = 256.0

pipeline = partial(signals.pipeline, sfreq=SFREQ, hop_s=1.0, no_brain=True)


def coming_off(
    seed: int = 3, kind: str = "white", brain_s: float = 20.4, noise_s: float = 12.0
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return a mouse whose leads come off, and its timestamps."""
    mouse = simulate_subject("mouse", seed, 60 / 3600, SFREQ, artefacts_per_hour=0).open()
    noise, _ = draw_no_brain(np.random.default_rng([seed, 6]), noise_s, SFREQ, kind)
    data = np.concatenate([mouse.read(0, round(brain_s * SFREQ)), noise]).astype(np.float32)
    return data, 50.0 + np.arange(len(data)) / SFREQ


def test_most_leads_that_come_off_are_told_within_three_seconds() -> None:
    seen = [draw_lead(seed).seen_s for seed in range(90)]
    assert np.mean(np.array(seen) <= 3.0) >= 0.85
    assert np.mean(np.array(seen) <= 4.0) >= 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_noise_of_any_kind_is_told_and_goes_on_being_told(kind: str) -> None:
    told = off_of(run(pipeline(), *coming_off(kind=kind), [1000])) > 0
    reasons = np.stack([b.reasons[0, 0] for b in run(pipeline(), *coming_off(kind=kind), [1000])])
    stopped = told | (reasons != OK)
    assert not told[:20].any()
    assert stopped[20:24].any()
    assert np.mean(stopped[24:]) > 0.7


def test_simulated_mice_keep_their_leads() -> None:
    told = [look_at_simulated(1_900_000 + seed, 0.05, wide=True) for seed in range(20)]
    assert np.mean(np.concatenate(told)) < 0.02


def test_no_stage_and_no_reason_rests_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    given = coming_off()
    one = run(pipeline(), *given, [1000])
    monkeypatch.setattr("models.signal.lead_off.LeadOff.follow", lambda *_: None)
    other = run(pipeline(), *given, [1000])
    assert (off_of(one) > 0).any()
    assert not (off_of(other) > 0).any()
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.reasons, b.reasons)
        np.testing.assert_array_equal(a.epochs, b.epochs)
        np.testing.assert_array_equal(a.usable, b.usable)


def test_it_is_told_of_its_own_subject_alone() -> None:
    off, _ = coming_off()
    mouse = simulate_subject("mouse", 4, 60 / 3600, SFREQ, artefacts_per_hour=0).open()
    data = np.concatenate([off, mouse.read(0, len(off))], axis=1)
    told = np.stack([b.lead_off for b in read(data, SFREQ)]) > 0
    assert told[21:24, 0].any()
    assert not told[:, 1].any()


def test_what_was_told_a_second_ago_is_likelier_by_as_much_as_the_rule_says() -> None:
    rule = read_lead_off_rule("mouse")
    data = coming_off()
    once = off_of(run(pipeline(), *data, [1000]))
    with pytest.MonkeyPatch.context() as patch:
        never = msgspec.structs.replace(rule, stays=0.0)
        patch.setattr("models.signal.no_brain.read_lead_off_rule", lambda _: never)
        other = off_of(run(pipeline(), *data, [1000]))
    known = ~np.isnan(once[1:])
    added = np.where(once[:-1] > 0, rule.stays, 0.0)[known]
    assert added.any()
    np.testing.assert_allclose((once[1:] - other[1:])[known], added, atol=0.101)


def test_it_is_not_known_at_first_nor_where_the_eeg_cannot_be_used() -> None:
    data, times = coming_off(brain_s=30.0)
    data[15 * 256 : 17 * 256, 0] = np.nan
    found = np.isnan(off_of(run(pipeline(), data, times, [1000])))[:30]
    assert found[:9].all()
    assert not found[9:15].any()
    assert found[15:17].all()


@pytest.mark.parametrize("hop_s", [1.0, 0.25])
def test_chunking_changes_no_bit(hop_s: float) -> None:
    given = coming_off()
    whole, pieces = (run(pipeline(hop_s=hop_s), *given, n) for n in ([len(given[0])], [37, 801, 3]))
    assert (off_of(whole) > 0).any()
    for one, other in zip(whole, pieces, strict=True):
        np.testing.assert_array_equal(one.lead_off, other.lead_off)
        np.testing.assert_array_equal(one.after.recent["lead_off"], other.after.recent["lead_off"])


def test_epochs_that_overlap_count_once() -> None:
    given = coming_off()
    whole, often = (run(pipeline(hop_s=hop_s), *given, [1000]) for hop_s in (1.0, 0.25))
    for one, other in zip(whole, often[::4], strict=True):
        np.testing.assert_array_equal(one.lead_off, other.lead_off)


@pytest.mark.parametrize("cut_s", [5.0, 10.0, 21.0])
def test_a_restart_at_an_epochs_end_goes_on_bit_by_bit(cut_s: float) -> None:
    data, times = coming_off()
    cut = round(cut_s * SFREQ)
    whole = run(pipeline(), data, times, [700])
    before = run(pipeline(), data[:cut], times[:cut], [700])
    heir = pipeline()
    heir.recall(before[-1].after)
    after = run(heir, data[cut:], times[cut:], [700])
    assert len(before) == cut_s
    assert_same(whole, before + after)


def test_what_was_told_is_told_again_after_a_restart_before_anything_new_came() -> None:
    data, _ = coming_off()
    check = check_for(SPEC, 1, SFREQ, 0.25)
    assert check is not None
    told = []
    for second, raw in enumerate(data[: 30 * 256].reshape(30, 256, 2).astype(np.float64)):
        told.append(check.mark(raw, 4 * second, np.full((1, 2), OK, object))[0])
        heir = check_for(SPEC, 1, SFREQ, 0.25)
        assert heir is not None
        heir.load_recent(check.recent())
        again = heir.mark(raw, 4 * second + 1, np.full((1, 2), OK, object))
        np.testing.assert_array_equal(again, told[-1:])
    assert np.diff(np.flatnonzero(np.array(told) > 0)).min() == 1


def test_what_was_missing_counts_as_nothing() -> None:
    data, times = coming_off(brain_s=30.0)
    gone = np.ones(len(data), bool)
    gone[15 * 256 : 18 * 256] = False
    found = run(pipeline(), data[gone], times[gone], [700])
    before = found[14].after.recent["lead_off"]
    np.testing.assert_array_equal(before, found[17].after.recent["lead_off"])
    assert not np.array_equal(before, found[18].after.recent["lead_off"])
    assert (off_of(found)[30:34] > 0).any()


def test_it_can_be_switched_off_and_says_nothing_of_people() -> None:
    data, times = coming_off()
    human = msgspec.structs.replace(SPEC, species="human")
    person = Pipeline(stream_config(unit="µV"), human, description(1, SFREQ))
    for pipe in (pipeline(no_brain=False), person):
        assert np.isnan(off_of(run(pipe, data, times, [1000]))).all()


def assert_same(left: list[EpochBatch], right: list[EpochBatch]) -> None:
    for one, other in zip(left, right, strict=True):
        np.testing.assert_array_equal(one.lead_off, other.lead_off)
        np.testing.assert_array_equal(one.after.recent["lead_off"], other.after.recent["lead_off"])
