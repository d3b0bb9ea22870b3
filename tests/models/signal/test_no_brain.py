"""No brain on the wire: said within ten seconds, at any rate, and never of a brain."""

from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import SpecError
from models.signal.no_brain import check_for
from models.signal.quality import NO_BRAIN, OK
from models.simulator.no_brain import draw_no_brain
from models.training.simulated import simulate_subject
from tests.rigs.accuracy.real_mice import RECORDINGS
from tests.rigs.no_brain import WITHIN_S as BY_SPECIES
from tests.rigs.no_brain import draw_wire, look_at_real, read, reasons_of
from tests.support import signals
from tests.support.signals import SPEC, description, run

SFREQ = 256.0
WITHIN_S = BY_SPECIES["mouse"]

pipeline = partial(signals.pipeline, sfreq=SFREQ, hop_s=1.0, no_brain=True)


def mouse(seed: int, sfreq: float = SFREQ, seconds: float = 60.0) -> NDArray[np.float64]:
    recording = simulate_subject("mouse", seed, seconds / 3600, sfreq, artefacts_per_hour=0).open()
    return recording.read(0, recording.n_samples)


def wire(seed: int, seconds: float = 60.0, sfreq: float = SFREQ, kind: str | None = None):
    return draw_no_brain(np.random.default_rng([seed, 4]), seconds, sfreq, kind)[0]


def test_a_hundred_wires_without_a_brain_have_next_to_no_stage_after_ten_seconds() -> None:
    staged = [draw_wire(seed)[0] for seed in range(100)]
    assert np.mean(np.concatenate(staged)) <= 0.005


@pytest.mark.parametrize("sfreq", [128.0, 512.0, 2000.0])
def test_simulated_mice_have_a_brain(sfreq: float) -> None:
    marked = [reasons_of(read(mouse(s, sfreq, 120.0), sfreq)) == NO_BRAIN for s in range(6)]
    assert np.mean(np.concatenate(marked)) < 0.005


@pytest.mark.usefixtures("shared_data")
def test_real_mice_have_a_brain_and_keep_their_leads() -> None:
    looked = [look_at_real(path) for path in RECORDINGS]
    assert all(np.mean(each.lost) < 0.001 for each in looked)
    assert np.mean(np.concatenate([each.off for each in looked])) < 0.005


@pytest.mark.parametrize("kind", ["white", "brown", "hum", "floating"])
def test_a_lead_that_comes_off_is_seen_in_ten_seconds_and_so_is_one_that_is_on_again(
    kind: str,
) -> None:
    data = mouse(3, seconds=100.0)
    off, on = round(40 * SFREQ), round(70 * SFREQ)
    data[off:on] = wire(5, 30.0, kind=kind)
    reasons = reasons_of(read(data, SFREQ))
    assert (reasons[:40] == OK).all()
    assert (reasons[50:70] != OK).all()
    assert (reasons[80:] == OK).all()


@pytest.mark.parametrize("moves", [True, False])
def test_the_emg_is_read_on_while_it_moves_where_the_eeg_alone_is_lost(moves: bool) -> None:
    data = mouse(3)
    off = round(30 * SFREQ)
    data[off:, 0] = wire(5, 30.0, kind="white")[:, 0]
    level = np.repeat(np.tile([1.0, 2.0 if moves else 1.0], 30), round(SFREQ))
    data[:, 1] = 20.0 * np.random.default_rng(0).standard_normal(len(data)) * level
    reasons = reasons_of(read(data, SFREQ))[30 + WITHIN_S :]
    assert (reasons[:, 0] == NO_BRAIN).all()
    assert (reasons[WITHIN_S:, 1] == (OK if moves else NO_BRAIN)).all()


def test_a_steady_emg_is_read_where_the_eeg_has_a_brain() -> None:
    data = mouse(3)
    data[:, 1] = wire(5, kind="white")[:, 1]
    assert (reasons_of(read(data, SFREQ)) == OK).all()


def test_it_is_marked_for_its_own_subject_alone() -> None:
    data = np.concatenate([wire(5, kind="white"), mouse(3)], axis=1)
    reasons = np.stack([b.reasons for b in read(data, SFREQ)])
    assert (reasons[WITHIN_S:, 0] != OK).all()
    assert (reasons[WITHIN_S:, 1] == OK).all()


@pytest.mark.parametrize("hop_s", [1.0, 0.25])
def test_chunking_changes_no_bit(hop_s: float) -> None:
    data = np.concatenate([mouse(3, seconds=20.0), wire(5, 25.0, kind="pink")]).astype(np.float32)
    times = 50.0 + np.arange(len(data)) / SFREQ
    whole = run(pipeline(hop_s=hop_s), data, times, [len(data)])
    pieces = run(pipeline(hop_s=hop_s), data, times, [37, 801, 3])
    assert {NO_BRAIN, OK} <= set(reasons_of(whole).ravel())
    for one, other in zip(whole, pieces, strict=True):
        np.testing.assert_array_equal(one.reasons, other.reasons)
        np.testing.assert_array_equal(one.after.recent["wires"], other.after.recent["wires"])


def test_epochs_that_overlap_count_once() -> None:
    data = wire(5, 15.0).astype(np.float32)
    times = 50.0 + np.arange(len(data)) / SFREQ
    whole, often = (run(pipeline(hop_s=hop_s), data, times, [1000]) for hop_s in (1.0, 0.25))
    for one, other in zip(whole, often[::4], strict=True):
        np.testing.assert_array_equal(one.after.recent["wires"], other.after.recent["wires"])


def other_mains() -> NDArray[np.float64]:
    return 100 * np.sin(2 * np.pi * 60 * np.arange(60 * 512) / 512)


@pytest.mark.parametrize(
    "eeg",
    [
        other_mains(),
        np.sign(other_mains()) * 2000,
        mouse(3, 512.0)[:, 0] * 1e3,
        mouse(3, 512.0)[:, 0] * 1e-3,
    ],
    ids=["mains of another grid", "rails", "mV for µV", "µV for mV"],
)
def test_what_other_checks_are_for_has_no_stage_either(eeg: NDArray[np.float64]) -> None:
    reasons = reasons_of(read(np.stack([eeg, eeg], axis=1), 512.0))
    assert (reasons[WITHIN_S:] != OK).all()


def test_a_restart_at_an_epochs_end_goes_on_bit_by_bit() -> None:
    data = np.concatenate([mouse(3, seconds=20.0), wire(5, 25.0, kind="pink")]).astype(np.float32)
    times = 50.0 + np.arange(len(data)) / SFREQ
    cut = round(26 * SFREQ)
    whole = run(pipeline(), data, times, [700])
    before = run(pipeline(), data[:cut], times[:cut], [700])
    heir = pipeline()
    heir.recall(before[-1].after)
    after = run(heir, data[cut:], times[cut:], [700])
    assert len(before) == 26
    for one, other in zip(whole, before + after, strict=True):
        np.testing.assert_array_equal(one.after.recent["wires"], other.after.recent["wires"])
        np.testing.assert_array_equal(one.reasons, other.reasons)


def test_a_source_of_another_rate_goes_on_where_the_check_stood() -> None:
    data = wire(5, 25.0, kind="white").astype(np.float32)
    before = pipeline()
    last = run(before, data, 50.0 + np.arange(len(data)) / SFREQ, [700])[-1]
    heir = before.succeed(description(1, 512.0))
    again = wire(5, 5.0, 512.0, kind="white").astype(np.float32)
    batches = run(heir, again, 75.0 + np.arange(len(again)) / 512.0, [700])
    assert (last.reasons == NO_BRAIN).all()
    assert (reasons_of(batches) == NO_BRAIN).all()


def test_a_restart_after_which_it_is_switched_on_begins_it_anew() -> None:
    data = wire(5, 30.0, kind="white").astype(np.float32)
    times = 50.0 + np.arange(len(data)) / SFREQ
    cut = round(15 * SFREQ)
    before = run(pipeline(no_brain=False), data[:cut], times[:cut], [700])
    heir = pipeline()
    heir.recall(before[-1].after)
    reasons = reasons_of(run(heir, data[cut:], times[cut:], [700]))
    assert (reasons[:5] != NO_BRAIN).all()
    assert (reasons[WITHIN_S:] == NO_BRAIN).all()


@pytest.mark.parametrize("number", [4e8, 3.4e38, np.inf])
def test_one_number_that_no_amplifier_gives_is_a_missing_one(number: float) -> None:
    data = mouse(1).astype(np.float32)
    times = 50.0 + np.arange(len(data)) / SFREQ
    place = round(20.3 * SFREQ)
    found = []
    for value in (number, np.nan):
        data[place] = value
        found.append(run(pipeline(), data, times, [700]))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one.after.recent["wires"], other.after.recent["wires"])
    assert not (reasons_of(found[0]) == NO_BRAIN).any()


def test_it_can_be_switched_off() -> None:
    data = wire(5, kind="white").astype(np.float32)
    times = 50.0 + np.arange(len(data)) / SFREQ
    assert (reasons_of(run(pipeline(no_brain=False), data, times, [1000])) == OK).all()


def test_a_state_of_other_subjects_is_refused() -> None:
    one, two = (check_for(SPEC, n, SFREQ, 1.0) for n in (1, 2))
    with pytest.raises(SpecError, match="expected shape"):
        two.load_recent(one.recent())
