"""No brain on the wire: every kind is what it is called."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal

from models.simulator.no_brain import KINDS, draw_no_brain

SFREQ = 512.0


def draw(kind: str, seed: int = 0) -> NDArray[np.float64]:
    """60 s of the first channel, RMS 1."""
    data, _ = draw_no_brain(np.random.default_rng(seed), 60.0, SFREQ, kind)
    x = data[:, 0].astype(np.float64)
    return x / np.sqrt(np.mean(x**2))


def density(x: NDArray[np.float64], hz: float) -> float:
    freqs, power = signal.welch(x, SFREQ, nperseg=1024)
    return float(power[np.argmin(np.abs(freqs - hz))])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sfreq", [128.0, 1000.0])
def test_each_kind_comes_in_any_amplitude_and_is_the_same_again(kind: str, sfreq: float) -> None:
    rms = []
    for seed in range(30):
        data, drawn = draw_no_brain(np.random.default_rng(seed), 10.0, sfreq, kind)
        assert (data.shape, data.dtype, drawn) == ((round(10 * sfreq), 2), np.float32, kind)
        assert np.isfinite(data).all()
        assert not np.array_equal(data[:, 0], data[:, 1])
        rms += np.sqrt((data.astype(float) ** 2).mean(axis=0)).tolist()
    assert 0.99 < min(rms) < 10
    assert 300 < max(rms) < 2010
    again, _ = draw_no_brain(np.random.default_rng(29), 10.0, sfreq, kind)
    np.testing.assert_array_equal(again, data)


def test_every_kind_is_drawn_in_time() -> None:
    drawn = {draw_no_brain(np.random.default_rng(s), 1.0, 128.0)[1] for s in range(100)}
    assert drawn == set(KINDS)


@pytest.mark.parametrize(("kind", "ratio"), [("white", 1), ("pink", 10), ("brown", 100)])
def test_coloured_noise_has_its_slope(kind: str, ratio: float) -> None:
    found = np.median([density(draw(kind, s), 8) / density(draw(kind, s), 80) for s in range(9)])
    assert found == pytest.approx(ratio, rel=0.35)


def test_hum_stands_out_of_its_noise() -> None:
    x = draw("hum")
    assert max(density(x, 50), density(x, 60)) > 10 * density(x, 90)


def test_a_saturated_input_is_at_its_rails_and_a_floating_one_is_not() -> None:
    for seed in range(10):
        x = np.abs(draw("saturated", seed))
        assert np.mean(x > 0.999 * x.max()) > 0.3
        y = np.abs(draw("floating", seed))
        assert np.mean(y > 0.999 * y.max()) < 0.01


def test_the_last_bit_takes_few_values() -> None:
    assert len(np.unique(draw("quantised"))) < 25


def test_modulated_noise_swells_with_the_mains() -> None:
    x = draw("modulated") ** 2
    assert max(density(x, 50), density(x, 60)) > 10 * density(x, 90)
