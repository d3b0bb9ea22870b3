from dataclasses import replace

import edfio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.signal.chunk import StreamDescription
from models.signal.quality import ModalityLimits, Quality, QualityLimits, doubt_unit

RIG = StreamDescription("rig", (), (), 512.0)
SFREQ = 512
QUALITY = Quality(QualityLimits(), ("eeg", "emg"), 1, SFREQ)
CALM = np.zeros((SFREQ, 2), bool)
WHOLE = np.zeros(SFREQ, bool)
TIME = np.arange(SFREQ) / SFREQ


def epoch():
    return np.random.default_rng(0).normal(0, 60, (SFREQ, 2))


def judge(quality, raw, missing=None, settling=None):
    missing = np.zeros(len(raw), bool) if missing is None else missing
    return quality.assess(raw, missing, np.zeros(raw.shape, bool) if settling is None else settling)


def eeg_reason(raw, missing=WHOLE):
    reasons = QUALITY.assess(raw, missing, CALM).reasons
    assert missing.any() or reasons[0, 1] == "ok"
    return reasons[0, 0]


def test_noise_is_usable():
    assert eeg_reason(epoch()) == "ok"


def test_offset_alone_is_no_fault():
    assert eeg_reason(epoch() + np.array([250_000.0, 0.0])) == "ok"


@pytest.mark.parametrize(
    ("bad", "reason"), [(0.01, "ok"), (0.1, "not_finite"), (1.0, "not_finite")]
)
def test_not_finite(bad, reason):
    raw = epoch()
    raw[: int(bad * SFREQ), 0] = np.nan
    raw[: int(bad * SFREQ) // 2, 0] = np.inf
    assert eeg_reason(raw) == reason


def test_flat():
    raw = epoch()
    raw[:, 0] = 17.0
    assert eeg_reason(raw) == "flat"


def test_clipped():
    raw = epoch()
    raw[:, 0] = np.clip(raw[:, 0], -60, 60)
    assert eeg_reason(raw) == "clipped"


def test_out_of_range():
    raw = epoch()
    raw[100:120, 0] += 20_000
    assert eeg_reason(raw) == "out_of_range"


@pytest.mark.parametrize(
    ("n", "uv", "reason"),
    [
        (int(0.05 * SFREQ), 500.0, "ok"),
        (int(0.05 * SFREQ) + 1, 500.0, "clipped"),
        (int(0.01 * SFREQ), 20_000.0, "ok"),
        (int(0.01 * SFREQ) + 1, 20_000.0, "out_of_range"),
    ],
)
def test_a_second_is_lost_with_more_samples_than_the_limit_allows(n, uv, reason):
    raw = np.concatenate([epoch()] * 3)
    raw[:n, 0] = uv
    calm = np.zeros(raw.shape, bool)
    assert QUALITY.assess(raw, np.zeros(len(raw), bool), calm).reasons[0, 0] == "ok"  # one of three
    raw[2 * SFREQ : 2 * SFREQ + n, 0] = uv
    assert QUALITY.assess(raw, np.zeros(len(raw), bool), calm).reasons.tolist() == [[reason, "ok"]]


@pytest.mark.parametrize("number", [3.4e38, -4e8, 1.1e6])
def test_no_amplifier_gives_such_a_number(number):
    raw = epoch()
    raw[7, 0] = number
    assert eeg_reason(raw) == "ok"  # one of 512, and not filtered
    raw[:20, 0] = number
    assert eeg_reason(raw) == "out_of_range"
    raw[:, 0] = number
    assert eeg_reason(raw) == "out_of_range"


def test_settling():
    settling = CALM.copy()
    settling[:5, 0] = True
    assert (QUALITY.assess(epoch(), WHOLE, settling).reasons == "ok").all()
    settling[:6, 0] = True
    assert QUALITY.assess(epoch(), WHOLE, settling).reasons.tolist() == [["settling", "ok"]]


@pytest.mark.parametrize("left", [1, 5, 6, 300])
def test_what_goes_on_after_the_epoch_counts_wherever_it_began(left):
    settling = CALM.copy()
    settling[-left:, 1] = True
    assert QUALITY.assess(epoch(), WHOLE, settling).reasons.tolist() == [["ok", "settling"]]
    emg = ModalityLimits(min_rms_uv=0.1, max_abs_uv=5000.0, max_out_of_range=1.0)
    bears_it = Quality(QualityLimits(emg=emg), ("eeg", "emg"), 1, SFREQ)
    assert (bears_it.assess(epoch(), WHOLE, settling).reasons == "ok").all()


PERSON = Quality(QualityLimits(), ("eeg", "eog"), 1, 128)
HALF_MINUTE = (30 * 128, 2)


@pytest.mark.parametrize(
    ("how", "reason"),
    [("out of range", "out_of_range"), ("ringing", "settling"), ("saturated", "clipped")],
)
@pytest.mark.parametrize("last", [False, True])
def test_a_long_epoch_is_lost_with_more_than_half_of_its_seconds(how, reason, last):
    """What is left of it is enough to score a person by; one second is lost with 6 of 512."""
    for seconds, found in ((1, "ok"), (15, "ok"), (16, reason)):
        raw = np.random.default_rng(0).normal(0, 30, HALF_MINUTE)
        settling = np.zeros(HALF_MINUTE, bool)
        bad = slice(-seconds * 128, None) if last else slice(0, seconds * 128)
        if how == "out of range":
            raw[bad, 0] = np.random.default_rng(1).normal(0, 20_000, seconds * 128)
        elif how == "saturated":
            raw[bad, 0] = np.resize([125, 125, 0.0], seconds * 128)
            raw[:, 0] = np.clip(raw[:, 0], -125, 125)
        else:
            settling[bad, 0] = True
        assert PERSON.assess(raw, np.zeros(len(raw), bool), settling).reasons.tolist() == [
            [found, "ok"]
        ]


IN_PARTS = Quality(QualityLimits(), ("eeg", "eog"), 1, 128, n_parts=10)


@pytest.mark.parametrize(("n_lost", "reason"), [(1, "ok"), (5, "ok"), (6, "missing")])
def test_an_epoch_whose_levels_are_measured_in_parts_is_missing_with_more_than_half_of_them(
    n_lost, reason
):
    """A part of 3 s is lost with 8 of its 384 samples."""
    raw, missing = np.random.default_rng(0).normal(0, 30, HALF_MINUTE), np.zeros(30 * 128, bool)
    missing[3 * 384 : (3 + n_lost) * 384 : 48] = True
    raw[missing] = np.nan
    found = judge(IN_PARTS, raw, missing)
    assert (found.reasons == reason).all()
    assert (found.lost[0] == np.isin(np.arange(10), np.arange(3, 3 + n_lost))).all()
    missing[:] = False
    missing[::64] = True
    assert not judge(IN_PARTS, raw, missing).lost.any()  # 1.6 % of each


@settings(max_examples=50)
@given(first=st.integers(0, 29), seconds=st.integers(1, 30), at_uv=st.sampled_from([0.0, 100.0]))
def test_a_part_that_is_flat_for_a_second_is_lost_as_if_it_had_never_come(first, seconds, at_uv):
    """As where a recorder writes zeros for what it lost; whatever follows, it is not now."""
    raw = np.random.default_rng(0).normal(0, 30, HALF_MINUTE)
    last = min(first + seconds, 30)
    raw[first * 128 : last * 128, 0] = at_uv
    found = judge(IN_PARTS, raw)
    flat = np.zeros(30, bool)
    flat[first:last] = True
    parts = flat.reshape(10, 3).any(axis=1)
    assert found.lost.tolist() == [[parts.tolist(), [False] * 10]]
    assert found.reasons.tolist() == [["flat" if flat.sum() > 15 else "ok", "ok"]]
    unseen = last - first if last == 30 else 0
    assert found.unseen_s.tolist() == [[unseen, 0]]
    assert found.lost_s.tolist() == [[last - first, 0]]
    gap = raw.copy()
    gap[first * 128 : last * 128] = np.nan
    missing = np.isnan(gap[:, 0])
    found = judge(IN_PARTS, gap, missing)
    assert found.lost.tolist() == [[parts.tolist()] * 2]
    assert found.unseen_s.tolist() == [[unseen] * 2]
    assert found.lost_s.tolist() == [[last - first] * 2]


def test_what_is_flat_for_less_than_a_second_was_seen_until_it_began():
    raw = epoch()
    raw[-100:, 0] = 0.0
    assert judge(QUALITY, raw).unseen_s.tolist() == [[0, 0]]
    missing = np.arange(SFREQ) >= SFREQ - 100
    raw[missing] = np.nan
    assert judge(QUALITY, raw, missing).unseen_s.tolist() == [[100 / SFREQ] * 2]


@given(level_uv=st.floats(-9e5, 9e5))
def test_nothing_is_flat_where_no_standard_deviation_is_asked_for(level_uv):
    eeg = ModalityLimits(min_rms_uv=0.0, max_abs_uv=1e6)
    quality = Quality(QualityLimits(eeg=eeg), ("eeg",), 1, 128)
    raw = np.random.default_rng(0).normal(0, 30, (4 * 128, 1))
    raw[128:256] = level_uv
    assert judge(quality, raw).lost_s.tolist() == [[0]]


def test_a_flat_second_loses_every_part_of_it():
    quality = Quality(QualityLimits(), ("eeg", "emg"), 1, SFREQ, n_parts=4)
    raw = epoch()
    raw[:, 1] = 3.0
    assert judge(quality, raw).lost.tolist() == [[[False] * 4, [True] * 4]]


@pytest.mark.parametrize(("n_missing", "reason"), [(7, "ok"), (8, "flat"), (16, "missing")])
def test_what_is_flat_and_what_never_came_are_lost_together(n_missing, reason):
    raw = np.random.default_rng(0).normal(0, 30, HALF_MINUTE)
    raw[: 8 * 128] = 0.0
    raw[-n_missing * 128 :] = np.nan
    assert (judge(IN_PARTS, raw, np.isnan(raw[:, 0])).reasons == reason).all()


def test_what_rings_of_a_movement_is_lost_with_it():
    raw, settling = np.zeros(HALF_MINUTE), np.zeros(HALF_MINUTE, bool)
    raw += np.random.default_rng(0).normal(0, 30, HALF_MINUTE)
    raw[: 10 * 128, 0] = np.random.default_rng(1).normal(0, 20_000, 10 * 128)
    settling[10 * 128 : 16 * 128, 0] = True
    assert PERSON.assess(raw, np.zeros(len(raw), bool), settling).reasons[0, 0] == "settling"


def test_blinks_are_no_artefact():
    t = np.arange(HALF_MINUTE[0]) / 128
    raw = np.random.default_rng(0).normal(0, 20, HALF_MINUTE)
    raw[:, 1] += 1000 * np.exp(-0.5 * ((t % 3 - 1.5) / 0.1) ** 2)
    assert (
        PERSON.assess(raw, np.zeros(len(raw), bool), np.zeros(HALF_MINUTE, bool)).reasons == "ok"
    ).all()


def test_mains():
    raw = epoch() * [0.1, 1.0]
    raw[:, 0] += 100 * np.sin(2 * np.pi * 50 * TIME)
    assert eeg_reason(raw) == "mains"


def test_missing_masks_every_modality():
    assert (
        QUALITY.assess(epoch(), np.arange(SFREQ) < 0.05 * SFREQ, CALM).reasons == "missing"
    ).all()


@pytest.mark.parametrize(
    ("rms_uv", "declared", "unit"),
    [(0.08, "µV", "mV"), (8e-5, "-6", "V"), (80_000.0, "mV", "µV"), (80_000.0, "uV", "nV")],
)
def test_an_amplitude_that_fits_another_unit_says_which(rms_uv, declared, unit):
    said = doubt_unit(rms_uv, declared, "eeg of m1", RIG)
    assert said.startswith(f"expected eeg of m1 of 5 to 2000 µV rms, found {rms_uv:.3g} µV")
    assert f"declared unit {declared}" in said
    assert said.endswith(f'set unit = "{unit}" for this stream')
    recorded = doubt_unit(rms_uv, declared, "eeg of m1", replace(RIG, is_file=True))
    assert recorded.endswith(f"give --unit {unit}")


@pytest.mark.parametrize(
    ("rms_uv", "declared", "doubted"),
    [(6000.0, "mV", True), (15_000.0, "-3", True), (15_000.0, "µV", False), (4000.0, "mV", False)],
)
def test_the_least_signals_of_another_unit_are_doubted_without_being_sure(
    rms_uv, declared, doubted
):
    assert doubt_unit(rms_uv, declared, "eeg of m1", RIG) == ""
    said = doubt_unit(rms_uv, declared, "eeg of m1", RIG, sure=False)
    assert said.endswith('set unit = "µV" for this stream') == doubted


@pytest.mark.parametrize("rms_uv", [0.0, 0.6, 80.0, 15_000.0])
def test_amplitudes_that_may_be_right_are_left_to_the_epoch_checks(rms_uv):
    assert doubt_unit(rms_uv, "µV", "eeg of m1", RIG) == ""


def people(shared_data):
    """Yield a modality and epochs of 30 s (n_epochs, n_times) of real people, µV."""
    folder = shared_data / "human_raw"
    psg = edfio.read_edf(folder / "short_psg.edf")
    for label, modality in (("EEG Fpz-Cz", "eeg"), ("EEG Pz-Oz", "eeg"), ("EOG horizontal", "eog")):
        yield modality, psg.get_signal(label).data[: 300 * 100].reshape(10, -1)
    with np.load(folder / "ucddb_dev.npz") as arrays:
        epochs, subjects = arrays["x"].astype(float), arrays["subject"]
    for subject in np.unique(subjects):
        mine = epochs[subjects == subject]
        mine *= 25 / np.median(mine.std(axis=1))  # their unit is lost; 25 µV rms is usual
        yield "eeg", mine


def test_epochs_of_people_are_usable_and_their_unit_is_not_doubted(shared_data):
    n_flat = 0
    for modality, epochs in people(shared_data):
        n_times = epochs.shape[1]
        quality = Quality(QualityLimits(), (modality,), 1, n_times / 30)
        for epoch in epochs:
            raw = epoch[:, None].astype(float)
            seconds = epoch.reshape(30, -1).std(axis=1)  # in some, the signal drops out and returns
            usual = "ok" if np.count_nonzero(seconds < 0.5) <= 15 else "flat"
            assert judge(quality, raw).reasons[0, 0] == usual
            n_flat += usual == "flat"
        rms_uv = float(np.median(epochs.std(axis=1)))
        assert doubt_unit(rms_uv, "µV", f"{modality} of p1", RIG) == ""
        assert "look like V" in doubt_unit(rms_uv / 1e6, "µV", f"{modality} of p1", RIG)
    assert n_flat == 7  # of 1,842


@pytest.mark.parametrize("rms_uv", [1.0, 8.0, 120.0])  # chin EMG in REM, quiet EEG, EOG
def test_what_is_faint_or_large_in_people_is_not_doubted(rms_uv):
    assert doubt_unit(rms_uv, "µV", "emg of p1", RIG) == ""
