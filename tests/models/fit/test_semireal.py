"""A night that follows a real mouse's band powers and EMG: real stages, simulated waves."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.errors import RecordingError
from models.fit.semireal import agreement, suggested_stages, synthesise, write
from models.fit.signals import ScoredPowers, halves, read_band_powers
from models.recordings.hypnograms.read import read_hypnogram
from models.recordings.open import open_recording
from models.simulator.mouse.tracks import COLUMNS
from models.stages import MOUSE

SFREQ = 256.0


@pytest.fixture(scope="module")
def scored(shared_data: Path) -> ScoredPowers:
    """20 min in which the mouse wakes, sleeps and dreams."""
    _, second = halves(read_band_powers(shared_data / "mouse_bandpower"))
    rem = int(np.flatnonzero(second.stages == 2)[20])
    return second[rem - 150 : rem + 150]


def test_synthesised_epochs_have_the_powers_and_the_emg_asked_for(scored: ScoredPowers) -> None:
    night = synthesise(scored, sfreq=SFREQ)
    assert night.data.shape == (len(night.asked) * 4 * SFREQ, 2)
    assert night.data.dtype == np.float32
    assert (agreement(night, SFREQ) > 0.95).all()
    wanted = {"Wake": 0, "NREM": 1, "REM": 2}
    assert [wanted[s] for s in night.hypnogram.stages] == scored.stages.tolist()
    gaps = np.diff(scored.time_s).round().sum() - 4 * (len(scored.stages) - 1)
    assert night.hypnogram.onsets[-1] == 4 * (len(scored.stages) - 1) + gaps


def test_no_label_enters_the_signals(scored: ScoredPowers) -> None:
    part = scored[:60]
    other = replace(part, stages=2 - part.stages)
    one, same = synthesise(part, sfreq=SFREQ), synthesise(other, sfreq=SFREQ)
    np.testing.assert_array_equal(one.data, same.data)
    assert one.hypnogram.stages != same.hypnogram.stages


def test_the_waves_follow_what_powers_and_emg_suggest(scored: ScoredPowers) -> None:
    shares = suggested_stages(scored.log_powers)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    assert np.mean(shares.argmax(axis=1) == scored.stages) > 0.7


def test_it_is_written_as_a_recording_with_a_hypnogram(
    scored: ScoredPowers, tmp_path: Path
) -> None:
    night = synthesise(scored[:60], sfreq=SFREQ)
    path = write(tmp_path / "new", night, SFREQ)
    recording = open_recording(path)
    assert recording.ch_names == ("EEG", "EMG")
    assert recording.sfreq == SFREQ
    np.testing.assert_allclose(recording.read(0, 5120), night.data[:5120], atol=0.05)
    read = read_hypnogram(path.with_suffix(".csv"), MOUSE)
    assert read.stages == night.hypnogram.stages
    np.testing.assert_array_equal(read.onsets, night.hypnogram.onsets)


def test_a_rate_too_low_for_the_bands_is_refused() -> None:
    epochs = ScoredPowers(np.arange(9) * 4.0, np.zeros((9, len(COLUMNS))), np.zeros(9, np.int64))
    with pytest.raises(RecordingError, match="at least 210 Hz, found 128"):
        synthesise(epochs, sfreq=128.0)
