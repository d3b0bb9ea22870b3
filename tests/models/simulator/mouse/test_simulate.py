"""Simulated sleep: the same bits again, real statistics of bands and EMG, animals that differ."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import RecordingError
from models.fit.band_powers import measure
from models.fit.signals import ScoredPowers, fit, halves, read_band_powers
from models.simulator.bands import BANDS
from models.simulator.mouse.animal import Animal
from models.simulator.mouse.eeg import add_eeg
from models.simulator.mouse.emg import add_emg
from models.simulator.mouse.simulate import SimulatedMice
from models.simulator.mouse.tracks import COLUMNS, EMG, draw_tracks, mouse_signals
from models.simulator.noise import Track, shaped_noise
from models.simulator.recording import Artefact, SimulatedRecording
from models.stages import MOUSE

SFREQ = 256


@pytest.fixture(scope="module")
def night() -> SimulatedRecording:
    return SimulatedMice(
        seed=5, duration_s=2 * 3600, sfreq=SFREQ, n_subjects=4, every_stage=True
    ).record()


@pytest.fixture(scope="module")
def plain() -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """The fitted mouse simulated for 4 h: measured log powers and EMG, stage of each epoch."""
    bouts = itertools.cycle([("Wake", 37), ("NREM", 43), ("Wake", 3), ("NREM", 22), ("REM", 18)])
    stages: list[str] = []
    while len(stages) < 3600:
        stage, n = next(bouts)
        stages += [stage] * n
    hypnogram = tuple(np.repeat(stages, 4).tolist())
    rngs = np.random.default_rng(3).spawn(3)
    tracks = draw_tracks(rngs[0], hypnogram, Animal.plain())
    data = np.zeros((len(hypnogram) * SFREQ, 2), np.float32)
    add_eeg(data[:, 0], rngs[1], tracks, Animal.plain(), SFREQ)
    add_emg(data, rngs[2], tracks, Animal.plain(), SFREQ)
    return measure(data, SFREQ), np.array(stages)


def test_a_recording_is_what_was_asked_for(night: SimulatedRecording) -> None:
    assert night.data.shape == (2 * 3600 * SFREQ, 8)
    assert night.data.dtype == np.float32
    assert np.isfinite(night.data).all()
    assert night.ch_names == ("EEG1", "EMG1", "EEG2", "EMG2", "EEG3", "EMG3", "EEG4", "EMG4")
    assert [len(h) for h in night.hypnograms] == [7200] * 4
    assert night.artefacts == ((),) * 4
    assert 5 < night.data.std() < 200  # µV


def test_same_seed_same_bits_other_seed_other_mouse() -> None:
    one, same, other = (SimulatedMice(seed=s, duration_s=60).record() for s in (1, 1, 2))
    np.testing.assert_array_equal(one.data, same.data)
    assert one.hypnograms == same.hypnograms
    assert not np.array_equal(one.data, other.data)


def test_a_subject_does_not_depend_on_the_others() -> None:
    few = SimulatedMice(seed=3, duration_s=90, n_subjects=2, artefacts_per_hour=200).record()
    many = SimulatedMice(seed=3, duration_s=90, n_subjects=5, artefacts_per_hour=200).record()
    np.testing.assert_array_equal(few.data, many.data[:, :4])
    assert few.hypnograms == many.hypnograms[:2]
    assert few.artefacts == many.artefacts[:2]
    assert len({subject.tobytes() for subject in many.data.T}) == 10


@pytest.mark.parametrize("sfreq", [100.0, 128.0, 511.96, 1000.0, 4000.0])
def test_any_rate_shows_the_same_sleep(sfreq: float) -> None:
    reference = SimulatedMice(seed=8, duration_s=120, sfreq=512, time_scale=4).record()
    other = SimulatedMice(seed=8, duration_s=120, sfreq=sfreq, time_scale=4).record()
    assert other.data.shape == (round(120 * sfreq), 2)
    assert other.hypnograms == reference.hypnograms
    assert other.data[:, 0].std() == pytest.approx(reference.data[:, 0].std(), rel=0.2)


def test_every_animal_tells_its_stages(night: SimulatedRecording) -> None:
    theta_over_delta = []
    for k, hypnogram in enumerate(night.hypnograms):
        measured = measure(night.data[:, 2 * k : 2 * k + 2], SFREQ, 1.0)
        stages = np.array(hypnogram)
        wake, nrem, rem = (np.median(measured[stages == s], axis=0) for s in MOUSE)
        assert nrem[0] > max(wake[0], rem[0]) + 0.3  # delta
        theta_over_delta.append(float(rem[1] - rem[0] - nrem[1] + nrem[0]))
        assert wake[EMG] > nrem[EMG] + 0.1
        assert rem[EMG] < nrem[EMG] + 0.1
    assert min(theta_over_delta) > -0.1  # a frontal electrode sees little theta
    assert np.mean(theta_over_delta) > 0.3


def test_the_plain_animal_has_the_fitted_means_and_spreads(
    plain: tuple[NDArray[np.float64], NDArray[np.str_]],
) -> None:
    measured, stages = plain
    statistics = mouse_signals()
    nrem = measured[stages == "NREM"].mean(axis=0) - statistics.mean["NREM"]
    for stage in MOUSE:
        epochs = measured[stages == stage]
        off = epochs.mean(axis=0) - statistics.mean[stage] - nrem
        np.testing.assert_allclose(off, 0.0, atol=0.25, err_msg=stage)
        asked = np.array(statistics.slow[stage]) + np.array(statistics.fast[stage])
        spread = epochs.std(axis=0) / np.sqrt(np.diagonal(asked))
        assert (spread > 0.75).all(), stage
        assert (spread < 2.2).all(), stage  # a measured epoch adds the scatter of 4 s of noise


def test_delta_fades_and_muscles_slacken_before_rem(
    plain: tuple[NDArray[np.float64], NDArray[np.str_]],
) -> None:
    measured, stages = plain
    first = np.flatnonzero((stages[1:] == "REM") & (stages[:-1] == "NREM")) + 1
    before, earlier = measured[first - 1].mean(axis=0), measured[first - 12].mean(axis=0)
    assert before[0] < earlier[0] - 0.2
    assert before[EMG] < earlier[EMG] - 0.05


def test_what_lasts_in_the_emg_lasts_and_what_flickers_flickers(
    plain: tuple[NDArray[np.float64], NDArray[np.str_]],
) -> None:
    measured, stages = plain
    means = np.array([measured[stages == s].mean(axis=0) for s in MOUSE])
    deviation = measured - means[[MOUSE.index(s) for s in stages.tolist()]]
    same = (stages[3:] == "NREM") & (stages[:-3] == "NREM")
    pairs = deviation[:-3][same], deviation[3:][same]
    lasting = (pairs[0] * pairs[1]).mean(axis=0) / deviation[stages == "NREM"].var(axis=0)
    assert lasting[EMG] > 0.6
    assert lasting[COLUMNS.index("alpha")] < 0.25


def test_rest_is_awake_with_calm_muscles() -> None:
    calm = []
    for rest in (-4.0, 0.0):
        animal = replace(Animal.plain(), rest=rest)
        tracks = draw_tracks(np.random.default_rng(2), ("Wake",) * 7200, animal)
        calm.append(float(np.mean(tracks.activity < 0.35)))
    assert calm[0] < 0.2 < calm[1]


def test_theta_of_rem_is_narrow_and_where_the_animal_has_it() -> None:
    subject = next(SimulatedMice(seed=5, duration_s=7200, sfreq=SFREQ, every_stage=True).subjects())
    seconds = subject.data[:, 0].reshape(-1, SFREQ)[np.array(subject.hypnogram) == "REM"]
    power = (np.abs(np.fft.rfft(seconds * np.hanning(SFREQ))) ** 2).mean(axis=0)
    peak = 4 + int(np.argmax(power[4:12]))
    assert abs(peak - subject.animal.theta_hz) <= 1
    assert power[peak] > 5 * power[peak + 4]


def _emg(stage: str, n_s: int = 120, **changes: float) -> NDArray[np.float32]:
    """One stage of the plain animal with something changed, µV."""
    animal = replace(Animal.plain(), **changes)  # type: ignore[arg-type]
    rngs = np.random.default_rng(7).spawn(2)
    tracks = draw_tracks(rngs[0], (stage,) * n_s, animal)
    data = np.zeros((n_s * 512, 2), np.float32)
    add_emg(data, rngs[1], tracks, animal, 512.0)
    return data[:, 1]


def _power(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean power of each 0.25 Hz, by frames of 4 s."""
    frames = samples.reshape(-1, 2048) * np.hanning(2048)
    return np.asarray(np.square(np.abs(np.fft.rfft(frames))).mean(axis=0))


def test_neck_electrodes_see_heart_beats_and_hum() -> None:
    silent, beating = (_power(_emg("NREM", heart_uv=uv, emg_uv=2.0)) for uv in (0.0, 30.0))
    rate = 4 * 9.5
    found = 4 * 7 + int(np.argmax((beating / silent)[4 * 7 : 4 * 12]))
    assert abs(found - rate) <= 4  # within 1 Hz of the animal's heart rate
    assert (beating / silent)[found] > 5
    humming = _power(_emg("NREM", mains_uv=20.0, mains_hz=60.0))
    assert int(np.argmax(humming)) == 4 * 60


def test_muscles_twitch_in_rem_alone() -> None:
    def count(stage: str, twitches: float) -> int:
        emg = _emg(stage, 900, heart_uv=0.0, breath_uv=0.0, twitches=twitches)
        tenths = emg[: len(emg) // 51 * 51].reshape(-1, 51).std(axis=1)
        return int(np.count_nonzero(tenths > 3 * np.median(tenths)))

    assert count("REM", 0.0) == 0
    assert count("REM", 0.3) > 50  # of 270, the loud ones
    assert count("NREM", 0.3) < 5


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


def test_artefacts_are_where_the_truth_says() -> None:
    clean = SimulatedMice(seed=4, duration_s=600).record()
    dirty = SimulatedMice(seed=4, duration_s=600, artefacts_per_hour=60).record()
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
    contrasts = [a.emg_contrast for a in animals]
    assert max(contrasts) > 3 * min(contrasts)
    assert len({a.offsets for a in animals}) == 200


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
        SimulatedMice(**({"seed": 0, "duration_s": 10} | wrong)).record()  # type: ignore[arg-type]


def test_the_packaged_signals_are_fitted_to_the_first_half_alone(shared_data: Path) -> None:
    first, second = halves(read_band_powers(shared_data / "mouse_bandpower"))
    assert len(first.stages) == len(second.stages) == 10479
    fitted = fit(first)
    for stage in MOUSE:
        np.testing.assert_allclose(fitted.mean[stage], mouse_signals().mean[stage], atol=2e-3)
        np.testing.assert_allclose(fitted.slow[stage], mouse_signals().slow[stage], atol=2e-3)
        np.testing.assert_allclose(fitted.fast[stage], mouse_signals().fast[stage], atol=5e-3)


def test_a_fit_needs_the_dataset_and_all_stages(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="expected band powers"):
        read_band_powers(tmp_path)
    with pytest.raises(RecordingError, match="100 epochs of each stage, found"):
        fit(
            ScoredPowers(
                np.arange(500) * 4.0, np.zeros((500, len(COLUMNS))), np.zeros(500, np.int64)
            )
        )


def test_measuring_a_tone_finds_it_in_its_band() -> None:
    t = np.arange(16 * SFREQ) / SFREQ
    tone = np.stack([10 * np.sin(2 * np.pi * 6 * t), 5 * np.sin(2 * np.pi * 60 * t)], axis=1)
    measured = measure(tone, SFREQ)[1:]
    assert measured.shape == (3, len(COLUMNS))
    theta = list(BANDS).index("theta")
    np.testing.assert_allclose(np.exp(measured[:, theta]), 50.0, rtol=0.01)  # µV²
    assert (measured[:, :EMG].argmax(axis=1) == theta).all()
    np.testing.assert_allclose(np.exp(measured[:, EMG]), 10 / np.pi, rtol=0.02)


def test_stages_that_are_given_are_simulated_and_the_animal_stays_the_same() -> None:
    awake = ("Wake",) * 60
    given = SimulatedMice(seed=3, duration_s=60, wide=True, stages=awake).record()
    assert given.hypnograms == (awake,)
    drawn = SimulatedMice(seed=3, duration_s=60, wide=True).record()
    again = SimulatedMice(seed=3, duration_s=60, wide=True, stages=drawn.hypnograms[0]).record()
    assert np.array_equal(again.data, drawn.data)
    with pytest.raises(RecordingError, match="a stage for each of 60 s, found 3"):
        SimulatedMice(seed=3, duration_s=60, stages=awake[:3]).record()
