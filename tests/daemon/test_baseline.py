"""What a daemon learns of an animal before it is staged, and how unlike others it finds it."""

import contextlib
import signal

import edfio
import msgspec
import numpy as np
import pytest

from daemon.baseline import read_baselines
from daemon.config import StreamConfig, SubjectConfig
from daemon.messages import StreamMessage
from engines.bundle import open_bundle
from engines.select import open_engine
from models.errors import ConfigError
from models.recordings.as_stream import condition
from models.recordings.open import ArrayRecording, open_recording
from models.scored_epochs import ScoredEpochs
from models.signal.drift import fit_reference
from models.signal.quality import QualityLimits
from models.simulator.noise import pink_noise
from models.spec import SPEC_FILE
from tests.rigs.daemon import Daemon, Listener, is_live
from tests.support.bundles import TINY, make_bundle
from tests.support.signals import stream_config
from tools.score.offline import stage_recording

SFREQ = 512
NORMALISER_S = 60.0
KNOWN_S = 20
N_LIVE = 90


def noise(seconds, seed=0, level=50.0):
    """Return EEG and EMG of an animal of noise, µV in steps that an EDF keeps."""
    rng = np.random.default_rng(seed)
    data = np.stack([pink_noise(rng, seconds * SFREQ) for _ in range(2)], axis=1)
    data *= level * rng.uniform(0.8, 1.2, 2)
    return np.clip(data, -300, 300).round(1)


def write(path, data, labels=("EEG", "EMG")):
    signals = [
        edfio.EdfSignal(
            column, SFREQ, label=label, physical_dimension="uV", physical_range=(-3276.8, 3276.7)
        )
        for column, label in zip(data.T, labels, strict=True)
    ]
    edfio.Edf(signals).write(path)
    return path


@pytest.fixture(scope="module", params=[False, True], ids=["samples", "levels"])
def bundle(request, tmp_path_factory):
    """A bundle trained, for all it says, on animals of noise; it soon knows an animal."""
    folder = tmp_path_factory.mktemp("bundle")
    folder = make_bundle(folder, n_context=5, levels=request.param, **TINY)
    manifest = open_bundle(folder).manifest
    # Noise has no mouse's brain, so the animals are people, whose brain may be as pink.
    spec = msgspec.structs.replace(manifest.spec, species="human", normaliser_s=NORMALISER_S)
    animals = []
    for seed in range(6):
        data = noise(60, seed).astype(np.float32)
        recording = ArrayRecording.of_microvolts("noise", ("EEG1", "EMG1"), float(SFREQ), data)
        (epochs,), (usable,), (looks,) = condition(recording, stream_config(), spec)
        stages = np.zeros(len(epochs), np.int64)
        animals.append(ScoredEpochs(f"m{seed}", epochs, stages, usable, looks=looks))
    manifest = msgspec.structs.replace(manifest, spec=spec, reference=fit_reference(animals, spec))
    (folder / SPEC_FILE).write_bytes(msgspec.json.encode(manifest))
    return folder


def stream(*baselines, labels=("EEG", "EMG"), **settings):
    subjects = tuple(
        SubjectConfig(
            name=f"m{i}", channels=dict(zip(("eeg", "emg"), labels, strict=True)), baseline=str(b)
        )
        for i, b in enumerate(baselines, 1)
    )
    return StreamConfig(name="cage", match={"name": "x"}, subjects=subjects, **settings)


def read(config, bundle):
    manifest = open_bundle(bundle).manifest
    return read_baselines(config, None, QualityLimits(), manifest.spec, manifest.reference)


def test_each_subject_learns_from_its_own_recording(bundle, tmp_path):
    quiet = write(tmp_path / "quiet.edf", noise(KNOWN_S, level=25.0))
    loud = write(tmp_path / "loud.edf", noise(KNOWN_S, level=50.0))
    learnt = read(stream(quiet, "", loud), bundle)
    np.testing.assert_allclose(np.exp(learnt.level[2] - learnt.level[0]), 2.0, rtol=0.02)
    assert (learnt.seen_s == [[KNOWN_S] * 2, [0, 0], [KNOWN_S] * 2]).all()
    assert (learnt.averaged_s == learnt.seen_s).all()
    assert learnt.averages[0].any()
    assert not learnt.averages[1].any()
    if open_bundle(bundle).spec.relative is not None:
        assert (learnt.relative_s == learnt.seen_s).all()
        assert learnt.relative_mean[0].any()
        assert not learnt.relative_mean[1].any()
    assert read(stream("", ""), bundle) is None


def test_the_file_s_own_unit_counts_and_not_the_stream_s(bundle, tmp_path):
    path = write(tmp_path / "night.edf", noise(KNOWN_S))
    learnt = read(stream(path, unit="V"), bundle)
    np.testing.assert_array_equal(learnt.level, read(stream(path), bundle).level)


@pytest.mark.parametrize(
    ("make", "labels", "why"),
    [
        (lambda folder: folder / "none.edf", ("EEG", "EMG"), "expected a file, found nothing"),
        (
            lambda folder: write(folder / "a.edf", noise(KNOWN_S)),
            ("EEG", "EMG7"),
            "expected a channel 'EMG7', found EEG, EMG",
        ),
        (
            lambda folder: write(folder / "b.edf", noise(KNOWN_S - 1)),
            ("EEG", "EMG"),
            "expected at least 20 s of usable eeg at the end of .*b.edf, found 19 s",
        ),
        (
            lambda folder: write(folder / "c.edf", noise(KNOWN_S) * [1, 0]),
            ("EEG", "EMG"),
            "expected at least 20 s of usable emg at the end of .*c.edf, found 0 s",
        ),
    ],
    ids=["no file", "no label", "too short", "flat"],
)
def test_a_baseline_that_cannot_be_used_is_one_sentence(make, labels, why, bundle, tmp_path):
    with pytest.raises(ConfigError, match=f"baseline of m1: .*{why}"):
        read(stream(make(tmp_path), labels=labels), bundle)


@contextlib.contextmanager
def running(folder, name, bundle, baseline):
    toml = (
        f'[[streams]]\nname = "cage"\nmatch = {{ name = "{name}" }}\n'
        '[[streams.subjects]]\nname = "m1"\nchannels = { eeg = "EEG", emg = "EMG" }\n'
        f'baseline = "{baseline}"\n'
    )
    with Daemon(folder, toml, bundle) as daemon:
        daemon.listen()
        with Listener(daemon.endpoint) as subscriber:
            daemon.event("stream", state="FILLING")
            yield daemon, subscriber


def test_the_daemon_begins_with_the_baseline_and_says_what_is_unlike_it(
    name, source, bundle, tmp_path
):
    quiet = write(tmp_path / "quiet.edf", noise(KNOWN_S, 1, level=25.0))
    phase = 2 * np.pi * 50 * np.arange(N_LIVE * SFREQ) / SFREQ
    hum = (noise(N_LIVE, 2) + 70 * np.sin(phase)[:, None]).round(1)
    with running(tmp_path, name, bundle, quiet) as (daemon, subscriber):
        assert [entry["path"] for entry in daemon.log if entry["event"] == "baseline"] == [
            str(quiet)
        ]
        source.wait_for_consumers()
        source.push(len(hum), data=hum)
        last = subscriber.until(is_live(N_LIVE - 1))
        heard = {m.epoch: m for m in subscriber.heard if getattr(m, "kind", None) == "live"}
        assert heard[0].drift is not None  # known at once, by the baseline
        assert last.drift > 1
        warning = daemon.event("the animal looks unlike those that the model was trained on")
        assert warning["subject"] == "m1"
        metrics = daemon.get("/metrics")[1]
        assert 'hypnod_drift_ratio{modality="eeg",stream="cage",subject="m1"}' in metrics
        daemon.process.kill()
    notes = [m.reason for m in subscriber.heard if isinstance(m, StreamMessage)]
    assert any("of m1 looks unlike what the model was trained on" in note for note in notes)
    assert_offline_is_the_same(heard, hum, quiet, bundle, tmp_path)
    quiet.unlink()  # what was learnt live is newer, and it is not read again
    with running(tmp_path, name, bundle, quiet) as (daemon, subscriber):
        source.wait_for_consumers()
        source.push(SFREQ, data=hum[:SFREQ])
        again = subscriber.until(is_live(N_LIVE))
        assert again.drift == pytest.approx(last.drift, rel=0.05)
        assert not [entry for entry in daemon.log if entry["event"] == "baseline"]
        daemon.signal(signal.SIGTERM)
        assert daemon.end()[0] == 0


def assert_offline_is_the_same(heard, data, baseline, bundle, folder):
    """Scoring what was heard gives the same, with the baseline, and something else without."""
    opened = open_bundle(bundle)
    recording = open_recording(write(folder / "night.edf", data))
    found = {}
    for path in (baseline, ""):
        with open_engine(opened, "onnxruntime", n_rows=1) as engine:
            reference = opened.manifest.reference
            learnt = read_baselines(stream(path), None, QualityLimits(), opened.spec, reference)
            staged = stage_recording(
                recording, stream(path), engine, reference=reference, learnt=learnt
            )
            live = [e for _, new in staged for e in new if e.kind == "live"]
        found[path] = np.array([e.probabilities for e in live])
        if path:
            drift = [e.drift for e in live]
    assert sorted(heard) == list(range(len(live)))
    messages = [heard[epoch] for epoch in sorted(heard)]
    probabilities = [list(m.probabilities.values()) for m in messages]
    np.testing.assert_allclose(found[baseline], probabilities, atol=1e-5)
    np.testing.assert_allclose(drift, [m.drift for m in messages], atol=1e-3)
    assert np.abs(found[""] - found[baseline])[0].max() > 1e-3
