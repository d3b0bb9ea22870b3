"""The picture of a night, and the overview of the signals in it."""

from datetime import UTC, datetime

import numpy as np
import pytest
from matplotlib import colors, image
from matplotlib.axes._secondary_axes import SecondaryAxis

from daemon.config import DayConfig
from models.signal.features import bands_hz
from models.stages import ART, COLOURS, HUMAN, MOUSE, UNKNOWN
from tools.shared.day import Day
from tools.view.clock import DARK, LIGHT, Clock
from tools.view.night import Night, draw_night, plot_night
from tools.view.overview import Overview, Told

SFREQ = 200.0
BERLIN = DayConfig(lights_on="07:00", zone="Europe/Berlin")


def night(hypnogram, stages=MOUSE, hop_s=1.0, **options):
    probabilities = np.full((len(hypnogram), len(stages)), np.nan)
    for i, stage in enumerate(hypnogram):
        if stage in stages:
            probabilities[i] = stages == np.array(stage)
    return Night(
        title="m1",
        stages=stages,
        hop_s=hop_s,
        hypnogram=hypnogram,
        probabilities=probabilities,
        **options,
    )


def signals(seconds, eeg_hz=10.0):
    times = np.arange(round(seconds * SFREQ)) / SFREQ
    emg = np.random.default_rng(0).normal(3.0, 20.0, len(times))
    return times, 100 * np.sin(2 * np.pi * eeg_hz * times) + 500, emg


def overview(seconds, n=977, **options):
    times, eeg, emg = signals(seconds, **options)
    gathered = Overview(SFREQ, seconds)
    for start in range(0, len(times), n):
        part = slice(start, start + n)
        gathered.add(times[part], eeg[part], emg[part])
    return gathered


def share(figure, colour):
    """Return how much of the picture has this colour."""
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    wanted = np.round(np.array(colors.to_rgb(colour)) * 255)
    return float((pixels == wanted).all(axis=-1).mean())


def test_the_spectrogram_shows_the_power_where_it_is():
    frequencies, decibels = overview(20).spectrogram(30.0)
    assert frequencies.tolist() == list(range(1, 31))
    assert decibels.shape == (10, 30)
    assert set(frequencies[decibels.argmax(axis=1)]) == {10.0}
    power = (10 ** (decibels / 10)).sum(axis=1)
    assert power == pytest.approx(np.full(10, 100**2 / 2), rel=1e-3)


def test_the_emg_is_loud_without_its_offset():
    edges, rms = overview(20).emg_rms()
    assert edges.tolist() == np.arange(0, 21, 2).tolist()
    assert rms == pytest.approx(np.full(10, 20.0), rel=0.1)


@pytest.mark.parametrize("n", [1, 399, 400, 401, 4000])
def test_pieces_of_any_size_give_the_same_overview(n):
    expected, found = overview(20), overview(20, n)
    assert np.array_equal(expected.spectrogram(30)[1], found.spectrogram(30)[1])
    assert np.array_equal(expected.emg_rms()[1], found.emg_rms()[1])


def test_what_is_missing_or_not_finite_is_left_out():
    times, eeg, emg = signals(20)
    emg[700] = np.nan
    kept = (times < 6.5) | (times > 9)
    gathered = Overview(SFREQ, 20)
    gathered.add(times[kept], eeg[kept], emg[kept])
    assert np.isnan(gathered.spectrogram(30)[1][:, 0]).nonzero()[0].tolist() == [3, 4]
    assert np.isnan(gathered.emg_rms()[1]).nonzero()[0].tolist() == [1, 3, 4]


def test_a_long_recording_has_no_more_columns_than_a_picture():
    gathered = Overview(SFREQ, 24 * 3600)
    times, eeg, emg = signals(200)
    gathered.add(times, eeg, emg)
    _, decibels = gathered.spectrogram(30)
    assert len(decibels) <= 1500
    assert gathered.span_s >= 24 * 3600
    assert np.isfinite(decibels[:, 0]).nonzero()[0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("stage", MOUSE)
def test_the_stage_fills_its_picture(stage):
    figure = draw_night(night([stage] * 100))
    shares = {name: share(figure, COLOURS[name].picture) for name in MOUSE}
    assert shares.pop(stage) > 0.15
    assert max(shares.values()) < 0.01


def test_unscored_epochs_leave_the_hypnodensity_blank():
    scored = share(draw_night(night(["NREM"] * 100)), COLOURS["NREM"].picture)
    half = night(["NREM"] * 50 + [ART] * 25 + [UNKNOWN] * 25)
    assert 0.4 < share(draw_night(half), COLOURS["NREM"].picture) / scored < 0.6


def test_panels_follow_what_there_is():
    def panels(**options):
        axes = draw_night(night(["Wake"] * 20, **options)).axes
        return [axis.get_ylabel() for axis in axes]

    silent = Overview(SFREQ, 20)
    times, eeg, _ = signals(20)
    silent.add(times, eeg, np.full(len(times), np.nan))
    assert panels() == ["", "probability"]
    assert panels(overview=silent) == ["", "probability", "EEG (Hz)"]
    assert panels(overview=overview(20)) == ["", "probability", "EEG (Hz)", "EMG rms (µV)"]
    assert len(panels(reference=["NREM"] * 20)) == 3


def marked(axis):
    axis.figure.canvas.draw()
    return [label.get_text() for label in axis.get_xticklabels()]


@pytest.mark.parametrize(
    ("start", "hours", "shown", "zone"),
    [
        ("2026-01-31T17:30", 3, ["19:00", "20:00", "21:00"], "CET"),
        ("2026-03-28T23:30", 3, ["01:00", "03:00", "04:00"], "CET, then CEST"),
        ("2026-10-24T23:30", 3, ["02:00", "02:00", "03:00"], "CEST, then CET"),
        ("2026-01-31T17:36", 0.5, ["18:40", "18:45", "18:50", "18:55", "19:00", "19:05"], "CET"),
    ],
)
def test_the_time_axis_shows_the_clock_on_the_wall(start, hours, shown, zone):
    begin = datetime.fromisoformat(start).replace(tzinfo=UTC).timestamp()
    n = round(hours * 3600)
    clock = Clock(day=Day(BERLIN), start=begin, end=begin + n)
    figure = draw_night(night(["NREM"] * n, clock=clock))
    bottom = figure.axes[-1]
    assert bottom.get_xlabel() == f"time of day ({zone})"
    assert [t for t in marked(bottom) if hours < 1 or t.endswith("00")] == shown


def test_light_and_dark_lie_above_with_zeitgeber_time():
    begin = datetime(2026, 1, 31, 5, 30, tzinfo=UTC).timestamp()  # half past six; light from seven
    clock = Clock(day=Day(BERLIN), start=begin, end=begin + 7200)
    figure = draw_night(night(["NREM"] * 7200, clock=clock))
    light, dark = share(figure, LIGHT), share(figure, DARK)
    assert light / dark == pytest.approx(3, rel=0.05)
    (above,) = (c for c in figure.axes[0].get_children() if isinstance(c, SecondaryAxis))
    figure.canvas.draw()
    assert [label.get_text() for label in above.get_xticklabels()] == ["ZT0", "ZT1"]


def told(n, hz=7.0):
    """Features of n seconds of one band alone and 10 µV of EMG."""
    band = [low <= hz < high for low, high in bands_hz(20)]
    return np.tile([*np.where(band, 30.0, -20.0), 20.0], (n, 1)).astype(np.float32)


def test_the_signals_are_shown_as_features_tell_them():
    features = told(20, 18.0)
    features[5, :-1], features[7:9, -1] = np.nan, np.nan
    signals = Told(features, 1.0)
    frequencies, decibels = signals.spectrogram(30.0)
    assert frequencies.tolist() == list(range(1, 31))
    assert np.isnan(decibels[:, 0]).nonzero()[0].tolist() == [5]
    assert set(np.nanargmax(np.delete(decibels, 5, axis=0), axis=1)) == {16}  # from 17 Hz on
    assert decibels[0, 16:20] == pytest.approx(np.full(4, 30 - 10 * np.log10(4)), abs=1e-4)
    edges, rms = signals.emg_rms()
    assert edges.tolist() == list(range(21))
    assert np.isnan(rms).nonzero()[0].tolist() == [7, 8]
    assert rms[0] == pytest.approx(10.0)


def test_a_long_night_has_no_more_columns_than_a_picture_and_means_of_power():
    features = told(40_000)
    features[::2, -1] = 0.0
    signals = Told(features, 1.0)
    _, rms = signals.emg_rms()
    assert len(rms) <= 1500
    assert signals.span_s >= 40_000
    assert np.nanmean(rms) == pytest.approx(np.sqrt((1 + 100) / 2), rel=0.02)


@pytest.mark.parametrize(
    ("n", "label"), [(60, "min"), (3 * 3600, "min"), (3 * 3600 + 1, "h"), (24 * 3600, "h")]
)
def test_the_time_axis_has_a_unit_that_fits(n, label):
    figure = draw_night(night(["Wake", "NREM", "REM"] * (n // 3) + ["REM"] * (n % 3)))
    assert figure.axes[-1].get_xlabel() == f"time from the first sample ({label})"
    assert figure.axes[-1].get_xlim()[1] == pytest.approx(n / (60 if label == "min" else 3600))


def test_a_picture_is_written_whole(tmp_path):
    path = tmp_path / "night.png"
    hypnogram = [*("W", "N1", "N2", "N3", "REM") * 20, UNKNOWN]
    plot_night(path, night(hypnogram, HUMAN, 30.0, overview=overview(101 * 30 / 10)))
    assert [p.name for p in tmp_path.iterdir()] == ["night.png"]
    height, width, _ = image.imread(path).shape
    assert width > 1500
    assert height > 800
