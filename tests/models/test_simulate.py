"""Simulated sleep: the same bits again, real bout statistics, spectra that tell the stages."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import RecordingError
from models.fit_hypnograms import fill_artefacts, fit, read_records
from models.simulate import Artefact, SimulatedRecording, iterate_subjects, simulate_recording
from models.simulate_animal import Animal, Track
from models.simulate_hypnogram import draw_hypnogram, find_bouts, mouse_statistics
from models.simulate_signals import shaped_noise
from models.stages import MOUSE

SFREQ = 256


@pytest.fixture(scope="module")
def night() -> SimulatedRecording:
    return simulate_recording(
        seed=5, duration_s=2 * 3600, sfreq=SFREQ, n_subjects=4, every_stage=True
    )


def band_power(x: NDArray[np.float32], low: float, high: float) -> NDArray[np.float64]:
    """Return the power of each second of `x`, (n_samples,)."""
    power = np.abs(np.fft.rfft(x.reshape(-1, SFREQ) * np.hanning(SFREQ))) ** 2
    return np.asarray(power[:, low : high + 1].sum(axis=1))  # a bin a hertz


def by_stage(values: NDArray[np.float64], hypnogram: tuple[str, ...]) -> dict[str, float]:
    return {s: float(np.median(values[np.array(hypnogram) == s])) for s in MOUSE}


def test_a_recording_is_what_was_asked_for(night: SimulatedRecording) -> None:
    assert night.data.shape == (2 * 3600 * SFREQ, 8)
    assert night.data.dtype == np.float32
    assert np.isfinite(night.data).all()
    assert night.ch_names == ("EEG1", "EMG1", "EEG2", "EMG2", "EEG3", "EMG3", "EEG4", "EMG4")
    assert [len(h) for h in night.hypnograms] == [7200] * 4
    assert night.artefacts == ((),) * 4
    assert 5 < night.data.std() < 200  # µV


def test_same_seed_same_bits_other_seed_other_mouse() -> None:
    one, same, other = (simulate_recording(seed=s, duration_s=60) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.data, same.data)
    assert one.hypnograms == same.hypnograms
    assert not np.array_equal(one.data, other.data)


def test_a_subject_does_not_depend_on_the_others() -> None:
    few = simulate_recording(seed=3, duration_s=90, n_subjects=2, artefacts_per_hour=200)
    many = simulate_recording(seed=3, duration_s=90, n_subjects=5, artefacts_per_hour=200)
    np.testing.assert_array_equal(few.data, many.data[:, :4])
    assert few.hypnograms == many.hypnograms[:2]
    assert few.artefacts == many.artefacts[:2]
    assert len({subject.tobytes() for subject in many.data.T}) == 10


@pytest.mark.parametrize("sfreq", [100.0, 128.0, 511.96, 1000.0, 4000.0])
def test_any_rate_shows_the_same_sleep(sfreq: float) -> None:
    reference = simulate_recording(seed=8, duration_s=120, sfreq=512, time_scale=4)
    other = simulate_recording(seed=8, duration_s=120, sfreq=sfreq, time_scale=4)
    assert other.data.shape == (round(120 * sfreq), 2)
    assert other.hypnograms == reference.hypnograms
    assert other.data[:, 0].std() == pytest.approx(reference.data[:, 0].std(), rel=0.2)


def test_spectra_tell_the_stages(night: SimulatedRecording) -> None:
    for k, hypnogram in enumerate(night.hypnograms):
        eeg, emg = night.data[:, 2 * k], night.data[:, 2 * k + 1]
        delta = by_stage(band_power(eeg, 1, 4), hypnogram)
        ratio = by_stage(band_power(eeg, 6, 9) / band_power(eeg, 1, 4), hypnogram)
        tone = by_stage(band_power(emg, 30, 100), hypnogram)
        assert delta["NREM"] > 2 * delta["Wake"]
        assert delta["NREM"] > 2 * delta["REM"]
        assert ratio["REM"] > ratio["Wake"] > ratio["NREM"]
        assert tone["Wake"] > 1.5 * tone["NREM"]
        assert tone["NREM"] > 0.9 * tone["REM"]


def test_theta_of_rem_is_narrow_and_where_the_animal_has_it() -> None:
    subject = next(iterate_subjects(seed=5, duration_s=7200, sfreq=SFREQ, every_stage=True))
    seconds = subject.data[:, 0].reshape(-1, SFREQ)[np.array(subject.hypnogram) == "REM"]
    power = (np.abs(np.fft.rfft(seconds * np.hanning(SFREQ))) ** 2).mean(axis=0)
    peak = 4 + int(np.argmax(power[4:12]))
    assert abs(peak - subject.animal.theta_hz) <= 1
    assert power[peak] > 5 * power[peak + 4]


def test_synthesised_noise_has_the_power_asked_for_everywhere() -> None:
    rng = np.random.default_rng(0)
    n_samples = 600 * 100 + 37

    def lowpassed(times: Track, freqs: Track) -> Track:
        return np.asarray(0.1 * (freqs < 10) * np.where(times < 300, 1.0, 4.0)[:, None])

    blocks = list(shaped_noise(rng, lowpassed, n_samples, 100.0))
    assert [where.start for where, _ in blocks[1:]] == [where.stop for where, _ in blocks[:-1]]
    x = np.concatenate([block for _, block in blocks])
    assert x.shape == (n_samples,)
    assert x[:29900].std() == pytest.approx(1.0, rel=0.05)
    assert x[30100:].std() == pytest.approx(2.0, rel=0.05)
    within_a_second = x[:29900].reshape(-1, 100).std(axis=0)
    assert within_a_second.std() < 0.06


def test_blocks_of_synthesis_join_without_a_seam() -> None:
    def white(times: Track, freqs: Track) -> Track:
        return np.full((1, len(freqs)), 0.02)

    after_seam = []
    for seed in range(20):
        blocks = list(shaped_noise(np.random.default_rng(seed), white, 26000, 100.0))
        assert len(blocks) == 2
        after_seam.append(blocks[1][1][:50])  # half of the frame that the previous block began
    assert np.std(after_seam) == pytest.approx(1.0, rel=0.08)


def test_long_hypnograms_have_the_fitted_statistics() -> None:
    statistics = mouse_statistics()
    hypnogram = draw_hypnogram(np.random.default_rng(0), 1000 * 3600)
    bouts = find_bouts(hypnogram)[1:-1]
    for stage in MOUSE:
        share = hypnogram.count(stage) / len(hypnogram)
        assert share == pytest.approx(statistics.time_fraction[stage], abs=0.03)
    nexts = {(a[2], b[2]) for a, b in itertools.pairwise(bouts)}
    assert ("Wake", "REM") not in nexts
    lengths = {s: np.array([length for _, length, stage in bouts if stage == s]) for s in MOUSE}
    assert np.median(lengths["Wake"]) < 15 < 80 < lengths["Wake"].mean()  # arousals and long bouts
    assert 60 < np.median(lengths["NREM"]) < 90
    assert 40 < np.median(lengths["REM"]) < 65
    on_the_grid = np.mean(np.concatenate(list(lengths.values())) % 4 == 0)
    assert on_the_grid == pytest.approx(0.25, abs=0.02)


def test_a_time_scale_shortens_bouts_and_every_stage_shows_all() -> None:
    scaled = draw_hypnogram(np.random.default_rng(1), 40000, time_scale=5)
    plain = draw_hypnogram(np.random.default_rng(1), 200000)
    assert len(find_bouts(scaled)) == pytest.approx(len(find_bouts(plain)), rel=0.3)
    for seed in range(5):
        shown = draw_hypnogram(np.random.default_rng(seed), 600, every_stage=True)
        assert min(shown.count(stage) for stage in MOUSE) >= 30
    with pytest.raises(RecordingError, match="room for every stage"):
        draw_hypnogram(np.random.default_rng(0), 3, every_stage=True)


def test_artefacts_are_where_the_truth_says() -> None:
    clean = simulate_recording(seed=4, duration_s=600)
    dirty = simulate_recording(seed=4, duration_s=600, artefacts_per_hour=60)
    artefacts = dirty.artefacts[0]
    assert {a.modality for a in artefacts} == {"eeg", "emg"}
    touched = dirty.data != clean.data
    outside = touched.copy()
    for artefact in artefacts:
        span, column = _span(artefact, dirty.sfreq)
        assert touched[span, column].mean() > 0.9
        assert np.abs(dirty.data[span, column]).max() > 3 * clean.data[:, column].std()
        outside[span, column] = False
    assert not outside.any()
    assert dirty.hypnograms == clean.hypnograms


def _span(artefact: Artefact, sfreq: float) -> tuple[slice, int]:
    start = round(artefact.onset_s * sfreq)
    length = round(artefact.duration_s * sfreq)
    return slice(start, start + length), ("eeg", "emg").index(artefact.modality)


def test_animals_differ() -> None:
    animals = [Animal.draw(np.random.default_rng(seed)) for seed in range(200)]
    assert max(a.eeg_uv for a in animals) > 5 * min(a.eeg_uv for a in animals)
    snrs = [a.emg_snr for a in animals]
    assert min(snrs) < 3
    assert max(snrs) > 10


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"sfreq": 50.0}, "sampling rate of 100 to 4000 Hz, found 50"),
        ({"duration_s": 0.5}, "length of at least 1 s, found 0.5"),
        ({"n_subjects": 0}, "number of subjects of at least 1, found 0"),
        ({"artefacts_per_hour": -1.0}, "artefacts of at least 0 per hour, found -1"),
        ({"time_scale": 0.0}, "time scale of at least 0.01, found 0"),
    ],
)
def test_what_cannot_be_simulated_is_refused(wrong: dict[str, float], sentence: str) -> None:
    with pytest.raises(RecordingError, match=sentence):
        simulate_recording(**({"seed": 0, "duration_s": 10} | wrong))  # type: ignore[arg-type]


def test_artefacts_of_scorers_become_the_stage_around_them() -> None:
    codes = np.array([4, 2, 4, 4, 2, 4, 1, 3, 4, 3, 2, 4], np.uint8)
    assert fill_artefacts(codes).tolist() == [1, 2, 2, 2, 2, 1, 1, 3, 3, 3, 2, 2]


def test_the_packaged_statistics_are_those_of_the_scored_mice(shared_data: Path) -> None:
    assert fit(read_records(shared_data / "mouse_hypnograms")) == mouse_statistics()


def test_a_folder_without_the_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="expected epoch_seconds"):
        read_records(tmp_path)
    with pytest.raises(RecordingError, match="at least 1800 epochs"):
        fit({"short": np.ones(10, np.uint8)})
