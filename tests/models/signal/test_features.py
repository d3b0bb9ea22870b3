"""What is told of an epoch's signal: the power that is there, in the band where it is."""

import msgspec
import numpy as np
import pytest

from models.signal.features import (
    BAND_EDGES_HZ,
    BANDS_HZ,
    LEAST_DB,
    BandLevels,
    Powers,
    bands_hz,
    power_between,
)
from models.spec import Band
from tests.support.signals import SPEC, noise, pipeline, run

N_BANDS = 20
LONG = msgspec.structs.replace(SPEC, epoch_s=4.0, sfreq=128.0)
SHORT = msgspec.structs.replace(SPEC, epoch_s=0.5)


def told(eeg, emg=None, spec=SPEC, usable=(True, True)):
    epochs = np.stack([eeg, np.zeros_like(eeg) if emg is None else emg])[None].astype(np.float32)
    known = np.array([usable])
    return BandLevels(spec)(Powers(epochs, spec.sfreq, known), known)[0]


def sine(hz, amplitude=100.0, spec=SPEC):
    return amplitude * np.sin(2 * np.pi * hz * np.arange(spec.n_times) / spec.sfreq + 0.3)


@pytest.mark.parametrize("spec", [SPEC, LONG], ids=["1 s", "4 s"])
@pytest.mark.parametrize("hz", [2, 4, 9, 11.5, 18, 35, 48])
def test_a_wave_s_power_is_in_its_band(spec, hz):
    found = told(sine(hz, spec=spec), spec=spec)[:-1]
    band = np.searchsorted(BAND_EDGES_HZ, hz) - 1
    assert found.argmax() == band
    everywhere = 10 * np.log10((10 ** (found / 10)).sum())
    assert found[band] > everywhere - 2  # the window spreads a wave over three bins
    assert everywhere == pytest.approx(10 * np.log10(100**2 / 2), abs=0.1)


@pytest.mark.parametrize("spec", [SPEC, LONG, SHORT], ids=["1 s", "4 s", "0.5 s"])
def test_of_white_noise_every_hertz_holds_as_much(spec):
    """Also where the bins of an epoch's spectrum do not lie as the bands do."""
    white = np.random.default_rng(0).normal(0, 50, (3000, 2, spec.n_times)).astype(np.float32)
    usable = np.ones((3000, 2), bool)
    found = 10 ** (BandLevels(spec)(Powers(white, spec.sfreq), usable) / 10)
    widths = np.diff(BAND_EDGES_HZ[: found.shape[1]])
    assert found[:, :-1].mean(axis=0) / widths == pytest.approx(50**2 / (spec.sfreq / 2), rel=0.07)
    assert found[:, -1].mean() == pytest.approx(50**2, rel=0.01)


def test_what_is_beyond_the_sampling_rate_is_not_told():
    bands = bands_hz(len(told(sine(3, spec=LONG), spec=LONG)) - 1)
    assert bands[0] == (0.5, 1.5)
    assert bands[-1] == (40.5, 55.5)
    assert len(bands_hz(N_BANDS)) == N_BANDS == len(BAND_EDGES_HZ) - 1


def test_what_is_not_usable_is_not_told_whatever_it_holds():
    nothing = np.full(512, np.nan)
    loud = sine(60, 20)
    assert np.isnan(told(nothing, loud, usable=(False, True))).tolist() == [True] * N_BANDS + [
        False
    ]
    assert np.isnan(told(loud, nothing, usable=(True, False))).tolist() == [False] * N_BANDS + [
        True
    ]
    assert told(loud, loud)[-1] == pytest.approx(10 * np.log10(200), abs=0.1)
    assert told(np.zeros(512)).tolist() == [LEAST_DB] * (N_BANDS + 1)


def test_the_power_of_a_named_band_is_that_of_the_bands_in_it():
    theta = told(sine(7.0, 100.0) + sine(30.0, 10.0))[:-1].tolist()
    assert power_between(theta, BANDS_HZ["theta"]) == pytest.approx(10 * np.log10(5000), abs=0.1)
    assert power_between(theta, BANDS_HZ["sigma"]) < 10
    assert np.isnan(power_between((), BANDS_HZ["delta"]))
    assert np.isnan(power_between(theta[:9], BANDS_HZ["sigma"]))


def test_a_model_without_emg_has_none():
    spec = msgspec.structs.replace(
        SPEC, modalities=("eeg",), pathways=("mixed",), bands=(Band(0.5, 100),), token_shape=(8,)
    )
    epochs, usable = sine(5)[None, None].astype(np.float32), np.ones((1, 1), bool)
    (found,) = BandLevels(spec)(Powers(epochs, spec.sfreq), usable)
    assert np.isnan(found).tolist() == [False] * N_BANDS + [True]


def test_they_are_of_microvolts_whatever_the_net_is_given():
    """The running amplitude, which the net's samples are divided by, does not show."""
    loud, quiet = (
        run(pipeline(), gain * noise(6 * 512), np.arange(6 * 512) / 512, [100]) for gain in (1, 0.1)
    )
    for one, other in zip(loud, quiet, strict=True):
        assert one.features - other.features == pytest.approx(20, abs=0.11)
        assert np.array_equal(one.features, np.round(one.features, 1))
