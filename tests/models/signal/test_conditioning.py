import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import SpecError
from models.signal.conditioning import Conditioner
from tests.support.signals import SPEC

RATES = (100.0, 128.0, 511.96, 512.0, 1000.0, 4000.0)


def sine(frequency, sfreq, seconds):
    time = np.arange(round(sfreq * seconds)) / sfreq
    wave = np.sin(2 * np.pi * frequency * time)
    return np.stack([wave, wave], axis=1)


def gain(frequency, sfreq, modality):
    """Amplitude of a sine after filter and resampling, in the last of five seconds."""
    conditioner = Conditioner(SPEC, sfreq, 1)
    filtered = conditioner.filter(sine(frequency, sfreq, 5.0))[0]
    epoch = conditioner.resample(filtered[-conditioner.n_in :])
    return float(np.sqrt(2.0) * epoch[0, modality].std())


@pytest.mark.parametrize("sfreq", RATES)
@pytest.mark.parametrize("frequency", [2.0, 8.0, 30.0])
def test_eeg_band_passes_at_any_rate(sfreq, frequency):
    # At 100 Hz, 30 Hz is near the end of what eight taps interpolate.
    expected = 0.967 if (frequency, sfreq) == (30.0, 100.0) else 1.0
    assert gain(frequency, sfreq, 0) == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("sfreq", [1000.0, 2000.0, 4000.0])
@pytest.mark.parametrize("modality", [0, 1])
def test_what_would_alias_is_gone(sfreq, modality):
    for above in (300.0, 400.0, 512.0 - 8.0, 512.0 + 8.0):
        if above < sfreq / 2:
            assert gain(above, sfreq, modality) < 1e-2 * 0.5


def test_drift_is_removed_and_emg_keeps_no_movement():
    assert gain(0.05, 512.0, 0) < 0.02
    assert gain(1.0, 512.0, 1) < 0.02
    assert gain(80.0, 512.0, 1) == pytest.approx(1.0, abs=0.03)


def test_filter_is_causal():
    x = np.zeros((512, 2))
    x[300] = 1.0
    assert np.abs(Conditioner(SPEC, 512.0, 1).filter(x)[0][:300]).max() == 0.0


@settings(max_examples=40)
@given(
    sizes=st.lists(st.integers(1, 900), min_size=1, max_size=6),
    sfreq=st.sampled_from(RATES),
    seed=st.integers(0, 99),
)
def test_chunking_and_not_a_numbers_change_no_bit(sizes, sfreq, seed):
    rng = np.random.default_rng(seed)
    n = 1500
    data = rng.normal(1000.0, 50.0, (n, 4))
    data[rng.random((n, 4)) < 0.01] = np.nan
    data[: rng.integers(n), 2] = np.inf
    original = data.copy()
    whole = Conditioner(SPEC, sfreq, 2).filter(data)[0]
    conditioner, first, cut = Conditioner(SPEC, sfreq, 2), 0, []
    while first < n:
        last = first + sizes[len(cut) % len(sizes)]
        cut.append(conditioner.filter(data[first:last])[0])
        first = last
    assert np.array_equal(whole, np.concatenate(cut))
    assert np.isfinite(whole).all()
    assert np.array_equal(data, original, equal_nan=True)


def test_a_channel_starts_settled_on_its_first_numbers():
    data = np.full((2000, 2), 5000.0)
    data[:700, 0] = np.nan
    filtered = Conditioner(SPEC, 512.0, 1).filter(data)[0]
    assert np.abs(filtered).max() < 1e-3


def test_after_a_gap_the_filter_starts_anew():
    conditioner = Conditioner(SPEC, 512.0, 1)
    conditioner.filter(np.zeros((512, 2)))
    assert np.abs(conditioner.filter(np.full((512, 2), 900.0), restart=True)[0]).max() < 1e-3


def test_equal_rates_are_not_resampled():
    conditioner = Conditioner(SPEC, 512.0, 2)
    samples = np.random.default_rng(0).normal(size=(512, 4)).astype(np.float32)
    epoch = conditioner.resample(samples)
    assert np.array_equal(epoch[1, 0], samples[:, 2])


def epochs(amplitude, n=1, seed=0):
    rng = np.random.default_rng(seed)
    return (amplitude * rng.normal(size=(n, 1, 2, 512))).astype(np.float32)


USABLE = np.ones((1, 2), bool)
SD = msgspec.structs.replace(SPEC, amplitude="sd")


def test_normalised_noise_has_amplitude_one_whatever_its_scale():
    for amplitude in (3.0, 80.0, 900.0):
        conditioner = Conditioner(SPEC, 512.0, 1)
        for epoch in epochs(amplitude, 50):
            scaled = conditioner.normalise(epoch, USABLE)
        assert scaled.std() == pytest.approx(1.0, abs=0.1)


def test_an_artefact_hardly_moves_the_running_amplitude():
    conditioner = Conditioner(SPEC, 512.0, 1)
    for epoch in epochs(50.0, 300):
        before = conditioner.normalise(epoch, USABLE)
    for artefact in epochs(50_000.0, 5):
        assert np.abs(conditioner.normalise(artefact, USABLE)).max() == SPEC.clip
    after = conditioner.normalise(epoch, USABLE)
    assert after.std() == pytest.approx(before.std(), rel=0.03)


def test_standard_deviation_is_that_of_all_the_signal_so_far():
    conditioner = Conditioner(SD, 512.0, 1)
    signal = np.concatenate([epochs(10.0, 300), epochs(90.0, 100, seed=1)])  # quiet, then moving
    scaled = [conditioner.normalise(epoch, USABLE) for epoch in signal]
    assert scaled[299].std() == pytest.approx(1.0, abs=0.1)
    assert np.median(signal[-1] / scaled[-1]) == pytest.approx(signal.std(), rel=0.02)


def test_an_artefact_does_not_carry_the_standard_deviation_away():
    conditioner = Conditioner(SD, 512.0, 1)
    for epoch in (*epochs(50.0, 300), *epochs(50_000.0, 1)):
        conditioner.normalise(epoch, USABLE)
    assert 0.5 < conditioner.normalise(epochs(50.0)[0], USABLE).std() < 1.0


@pytest.mark.parametrize("spec", [SPEC, SD], ids=lambda spec: spec.amplitude)
def test_an_unusable_epoch_changes_nothing(spec):
    conditioner = Conditioner(spec, 512.0, 1)
    conditioner.normalise(epochs(50.0)[0], USABLE)
    before = conditioner.state()
    conditioner.normalise(epochs(900.0)[0], ~USABLE)
    after = conditioner.state()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_the_running_amplitude_follows_a_lasting_change():
    conditioner = Conditioner(SPEC, 512.0, 1)
    for epoch in (*epochs(50.0, 2000), *epochs(25.0, 9000)):
        scaled = conditioner.normalise(epoch, USABLE)
    assert scaled.std() == pytest.approx(1.0, abs=0.15)


def test_state_goes_on_exactly_where_it_was():
    data = np.random.default_rng(0).normal(0, 50, (3000, 2))
    whole, first = Conditioner(SPEC, 512.0, 1), Conditioner(SPEC, 512.0, 1)
    for conditioner in (whole, first):
        conditioner.filter(data[:1300])
        conditioner.normalise(epochs(40.0)[0], USABLE)
    second = Conditioner(SPEC, 512.0, 1)
    second.load_state(first.state())
    assert np.array_equal(whole.filter(data[1300:])[0], second.filter(data[1300:])[0])
    epoch = epochs(70.0, seed=1)[0]
    assert np.array_equal(whole.normalise(epoch, USABLE), second.normalise(epoch, USABLE))


def test_state_of_other_subjects_is_refused():
    with pytest.raises(SpecError, match="conditioner state 'filter_0': expected shape"):
        Conditioner(SPEC, 512.0, 1).load_state(Conditioner(SPEC, 512.0, 2).state())


@pytest.mark.parametrize("sfreq", [0.0, 64.0, 4001.0])
def test_rates_out_of_range_are_refused(sfreq):
    with pytest.raises(SpecError, match=f"100 to 4000 Hz, found {sfreq:g} Hz"):
        Conditioner(SPEC, sfreq, 1)
