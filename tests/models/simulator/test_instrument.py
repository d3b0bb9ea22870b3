"""What an instrument does to signals, field by field, on noise whose truth is known."""

from dataclasses import replace
from operator import attrgetter

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal

from models.simulator.instrument import Amplifier, Instrument
from models.simulator.noise import mains, pink_noise

SFREQ = 512.0
N = round(120 * SFREQ)
PLAIN = Amplifier()


@pytest.fixture(scope="module")
def data() -> NDArray[np.float32]:
    """White EEG of 30 µV; white EMG of 5 µV that is three times as loud in the second half."""
    x = np.random.default_rng(1).standard_normal((N, 2)) * (30.0, 5.0)
    x[N // 2 :, 1] *= 3.0
    return x.astype(np.float32)


def through(
    data: NDArray[np.float32],
    eeg: Amplifier = PLAIN,
    emg: Amplifier = PLAIN,
    **changes: object,
) -> NDArray[np.float64]:
    instrument = replace(Instrument(eeg, emg), **changes)  # type: ignore[arg-type]
    out = instrument.apply(data, SFREQ, np.random.default_rng(2))
    assert (out.shape, out.dtype) == (data.shape, np.float32)
    return out.astype(np.float64)


def power(x: NDArray[np.float64], low_hz: float, high_hz: float) -> float:
    """Mean power density between two frequencies."""
    freqs, density = signal.welch(x, SFREQ, nperseg=2048)
    return float(density[(freqs >= low_hz) & (freqs <= high_hz)].mean())


def contrast(emg: NDArray[np.float64]) -> float:
    return float(emg[N // 2 + 1000 :].std() / emg[: N // 2 - 1000].std())


def test_by_default_nothing_happens(data: NDArray[np.float32]) -> None:
    np.testing.assert_array_equal(Instrument().apply(data, SFREQ, np.random.default_rng(0)), data)


def test_gains(data: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(through(data, Amplifier(2.0), Amplifier(0.5)), data * (2, 0.5), 1e-5)


def test_the_eeg_ends_where_its_filters_say(data: NDArray[np.float32]) -> None:
    eeg = through(data, Amplifier(lowpass=(25.0, 4), highpass_hz=2.0))[:, 0]
    assert power(eeg, 5, 15) == pytest.approx(power(data[:, 0], 5, 15), rel=0.2)
    assert power(eeg, 60, 200) < 1e-2 * power(eeg, 5, 15)
    assert power(eeg, 0, 0.5) < 0.2 * power(eeg, 5, 15)


def test_an_emg_behind_a_rectifier_is_never_negative(data: NDArray[np.float32]) -> None:
    emg = through(data, rectified=True)[:, 1]
    np.testing.assert_array_equal(emg, np.abs(data[:, 1]))
    smooth = through(data, emg=Amplifier(lowpass=(30.0, 2)), rectified=True)[:, 1]
    assert power(smooth, 100, 200) < 0.05 * power(emg, 100, 200)
    assert smooth.mean() == pytest.approx(emg.mean(), rel=0.01)


def test_an_envelope_is_the_mean_of_what_came_before(data: NDArray[np.float32]) -> None:
    k = 51
    emg = through(data, emg_envelope_s=k / SFREQ)[:, 1]
    for i in (1000, N // 2 + 7):
        assert emg[i] == pytest.approx(np.abs(data[i - k + 1 : i + 1, 1]).mean(), rel=1e-4)


def test_compression_takes_contrast_away(data: NDArray[np.float32]) -> None:
    assert contrast(through(data)[:, 1]) == pytest.approx(3.0, rel=0.05)
    assert contrast(through(data, compression=0.5)[:, 1]) == pytest.approx(3.0**0.5, rel=0.05)


def test_noise_floors_and_the_eeg_in_the_emg_are_as_large_as_asked(
    data: NDArray[np.float32],
) -> None:
    level = np.percentile(np.abs(data[:, 1]), 30)
    noise = (through(data, emg=Amplifier(noise=2.0)) - data)[:, 1]
    assert noise.std() == pytest.approx(2 * level, rel=0.02)
    pink = (through(data, Amplifier(noise=0.3, pink=True)) - data)[:, 0]
    assert pink.std() == pytest.approx(9.0, rel=0.02)
    seen = (through(data, eeg_in_emg=1.5) - data)[:, 1]
    assert np.corrcoef(seen, data[:, 0])[0, 1] > 0.999
    assert seen.std() == pytest.approx(1.5 * level, rel=0.02)


@pytest.mark.parametrize(("channel", "name"), [(0, "eeg"), (1, "emg")])
def test_hum_has_harmonics_and_a_notch_takes_its_mains(
    data: NDArray[np.float32], channel: int, name: str
) -> None:
    hum = through(data, **{name: Amplifier(hum=2.0, mains_hz=60.0)})
    for hz in (60, 120, 180):
        assert power(hum[:, channel], hz, hz) > 5 * power(hum[:, channel], hz + 15, hz + 20)
    assert not np.any((hum - data)[:, 1 - channel])
    cut = through(data, **{name: Amplifier(hum=2.0, mains_hz=60.0, notch=True)})[:, channel]
    assert power(cut, 60, 60) < 0.2 * power(data[:, channel], 60, 60)
    assert power(cut, 120, 120) == pytest.approx(power(hum[:, channel], 120, 120), rel=0.1)


def test_steps_and_offsets(data: NDArray[np.float32]) -> None:
    level = np.percentile(np.abs(data[:, 1]), 30)
    coarse = through(data, Amplifier(step=0.2), Amplifier(step=0.5))
    assert len(np.unique(coarse[:, 0])) < 80
    np.testing.assert_allclose(np.diff(np.unique(coarse[:, 1])).min(), 0.5 * level, rtol=0.01)
    moved = (through(data, Amplifier(offset=-2.0), Amplifier(offset=3.0)) - data).mean(axis=0)
    np.testing.assert_allclose(moved, (-60.0, 3 * level), rtol=0.02)


def test_most_instruments_are_kind_and_their_noise_depends_on_the_seed_alone(
    data: NDArray[np.float32],
) -> None:
    drawn = [Instrument.draw(np.random.default_rng(s), mains_hz=60.0) for s in range(600)]
    assert drawn[5] == Instrument.draw(np.random.default_rng(5), mains_hz=60.0)
    assert {i.eeg.mains_hz for i in drawn} == {60.0}
    usual = {"eeg.lowpass": 0.6, "eeg.highpass_hz": 0.3, "compression": 0.25, "rectified": 0.25}
    rare = ("emg_envelope_s", *(f"eeg.{n}" for n in ("notch", "hum", "step", "noise")))
    for name, share in (usual | dict.fromkeys((*rare, "emg.hum", "emg.step"), 0.07)).items():
        found = [bool(attrgetter(name)(i)) for i in drawn]
        assert np.mean(found) == pytest.approx(share, abs=0.06)
    noisy = [i.emg.noise for i in drawn if i.emg.noise > 0]
    assert len(noisy) == pytest.approx(240, abs=40)
    assert np.mean(np.array(noisy) < 1) > 0.6
    for instrument in drawn[:10]:
        one, same = (instrument.apply(data, SFREQ, np.random.default_rng(3)) for _ in range(2))
        np.testing.assert_array_equal(one, same)
        assert np.isfinite(one).all()


def test_what_is_beyond_the_limit_is_cut_off(data: NDArray[np.float32]) -> None:
    eeg = through(data, Amplifier(gain=2.0, limit=1.5))[:, 0]
    level = 1.4826 * np.median(np.abs(data[:, 0]))
    assert np.abs(eeg).max() == pytest.approx(3.0 * level, rel=0.01)
    inside = np.abs(data[:, 0]) < 1.4 * level
    np.testing.assert_allclose(eeg[inside], 2.0 * data[inside, 0], rtol=1e-5)


@pytest.mark.parametrize("sfreq", [100.0, 4000.0])
def test_any_instrument_goes_with_any_rate(sfreq: float) -> None:
    x = np.random.default_rng(1).standard_normal((round(5 * sfreq), 2)).astype(np.float32)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        assert np.isfinite(Instrument.draw(rng).apply(x, sfreq, rng)).all()


def test_pink_noise_falls_by_half_an_octave_and_mains_stay_below_the_nyquist() -> None:
    pink = pink_noise(np.random.default_rng(0), N)
    assert pink.std() == pytest.approx(1.0)
    assert power(pink, 4, 6) / power(pink, 40, 60) == pytest.approx(10, rel=0.4)
    alone = mains(N, 110.0, 50.0)
    assert np.sqrt(2) * alone.std() == pytest.approx(1.0, abs=1e-3)  # 100 Hz would be at 10 Hz
