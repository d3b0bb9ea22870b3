import msgspec
import numpy as np
import pytest
from scipy import signal

from models.errors import RecordingError, SpecError
from models.recordings.as_stream import condition
from models.recordings.base import ArrayRecording
from models.scored_epochs import ScoredEpochs
from models.signal.drift import EARLY_S, EXTREME, MIN_ANIMALS, Drift, fit_reference
from models.simulator.mouse.simulate import SimulatedMice
from models.spec import BundleManifest, Reference
from tests.support.bundles import mouse_spec
from tests.support.signals import stream_config

SFREQ = 256.0
DURATION_S = 400
TIME_SCALE = 5.0  # each recording holds half an hour's bouts
SPEC = msgspec.structs.replace(mouse_spec(), normaliser_s=360.0)
RNG = np.random.default_rng(0)


def signals(seed):
    """Simulate a mouse; (n_samples, 2) µV."""
    recording = SimulatedMice(
        seed=seed, duration_s=DURATION_S, sfreq=SFREQ, time_scale=TIME_SCALE
    ).record()
    return recording.data


def subject(data, name="m", usable=True):
    recording = ArrayRecording.of_microvolts(name, ("EEG1", "EMG1"), SFREQ, data.astype(np.float32))
    (epochs,), _, (looks,) = condition(recording, stream_config(), SPEC)
    shape = epochs.shape[:2]
    stages = np.zeros(shape[0], np.int64)
    return ScoredEpochs(name, epochs, stages, np.full(shape, usable), looks=looks)


def measure(found, reference):
    """Return the drift measure after each epoch of a subject, (n, 2)."""
    drift = Drift(SPEC, reference, 1)
    return np.concatenate(
        [drift.update(e[None], u[None]) for e, u in zip(found.looks, found.usable, strict=True)]
    )


@pytest.fixture(scope="module")
def animals():
    return [subject(signals(seed), f"m{seed}") for seed in range(12)]


@pytest.fixture(scope="module")
def reference(animals):
    return fit_reference(animals, SPEC)


@pytest.fixture(scope="module")
def mouse():
    """One that the reference was not made of."""
    return signals(100)


@pytest.fixture(scope="module")
def ordinary(mouse):
    """Its epochs."""
    return subject(mouse)


def test_an_ordinary_mouse_stays_below_the_limit_once_enough_was_seen(ordinary, reference):
    found = measure(ordinary, reference)
    first = round(SPEC.normaliser_s / 3)
    assert np.isnan(found[: first - 1]).all()
    assert (found[first - 1 :] < 1).all()


def test_an_extreme_one_is_told_from_the_first_minute_on(ordinary, reference):
    near = msgspec.structs.replace(reference, limit=(reference.limit[0] / 50, reference.limit[1]))
    found, usual = measure(ordinary, near), measure(ordinary, reference)
    first = round(EARLY_S)
    assert np.isnan(found[: first - 1]).all()
    assert (found[first - 1 :, 0] > EXTREME).all()
    np.testing.assert_array_equal(found[:, 1], usual[:, 1])  # each modality for itself


def white(data):
    return RNG.normal(0, 50, data.shape)


def slow(data):
    """The same at a quarter of the speed: delta for theta, no higher rhythms."""
    return signal.resample_poly(data[: len(data) // 4], 4, 1)


def line_noise(data):
    """Hum of the rms of the signal."""
    phase = 2 * np.pi * 50 * np.arange(len(data)) / SFREQ
    return data + np.sqrt(2) * data.std(axis=0) * np.sin(phase)[:, None]


@pytest.mark.parametrize(
    "change",
    [lambda data: data[:, ::-1], white, slow, line_noise],
    ids=["swapped", "white noise", "slow", "hum"],
)
def test_what_no_mouse_looks_like_passes_the_limit(change, mouse, reference):
    found = measure(subject(change(mouse)), reference)
    assert found[-1, 0] > 1  # of the EEG; an EMG is much like noise


def test_it_says_in_what_an_animal_differs(mouse, reference):
    drift = Drift(SPEC, reference, 2)
    for looks in subject(line_noise(mouse)).looks:
        drift.update(np.stack([looks, looks]), np.ones((2, 2), bool))
    found = dict(part.split(": ") for part in drift.explain(1, 0).split(", "))
    assert float(found["power at 31.6 to 56.2 Hz"].removesuffix(" SD")) > 2


def test_unusable_epochs_change_nothing(ordinary, reference):
    drift = Drift(SPEC, reference, 1)
    looks = ordinary.looks
    usable = np.ones((1, 2), bool)
    for each in looks[:200]:
        before = drift.update(each[None], usable)
    after = drift.update(looks[200:201], np.array([[False, False]]))
    np.testing.assert_array_equal(after, before)


def test_subjects_are_measured_each_for_itself(ordinary, reference):
    first, second = ordinary.looks, subject(signals(101)).looks
    both = Drift(SPEC, reference, 2)
    for a, b in zip(first, second, strict=True):
        found = both.update(np.stack([a, b]), np.ones((2, 2), bool))
    np.testing.assert_allclose(found[:1], measure(ordinary, reference)[-1:], rtol=1e-4)


def test_it_goes_on_from_its_state(ordinary, reference):
    looks, usable = ordinary.looks, np.ones((1, 2), bool)
    whole, first, second = (Drift(SPEC, reference, 1) for _ in range(3))
    for each in looks[:180]:
        whole.update(each[None], usable)
        first.update(each[None], usable)
    second.load_state(first.state())
    for each in looks[180:]:
        found = second.update(each[None], usable), whole.update(each[None], usable)
        np.testing.assert_array_equal(*found)
    with pytest.raises(SpecError, match="expected shape"):
        Drift(SPEC, reference, 2).load_state(first.state())


def test_a_reference_needs_some_animals_with_enough_signal(animals):
    few = [*animals[: MIN_ANIMALS - 1]] * 2  # the same ones twice
    with pytest.raises(
        RecordingError, match="at least 3 animals with 2 min of usable eeg, found 2"
    ):
        fit_reference(few, SPEC)
    blind = [subject(np.zeros((512, 2)), "short")]
    with pytest.raises(RecordingError, match="found 0"):
        fit_reference(blind, SPEC)


def test_an_animal_without_emg_is_left_out_of_what_emg_looks_like(animals, reference):
    deaf = subject(signals(200), "deaf")
    deaf.usable[:, 1] = False
    found = fit_reference([*animals, deaf], SPEC)
    assert found.n_animals == reference.n_animals + 1
    assert found.mean[1] == reference.mean[1]
    assert found.mean[0] != reference.mean[0]


def test_a_reference_survives_json(reference):
    data = msgspec.json.encode(reference)
    assert msgspec.json.decode(data, type=Reference) == reference
    assert len(data) < 5000


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("limit", (1.0,)),
        ("limit", (1.0, 0.0)),
        ("limit", (1.0, float("nan"))),
        ("mean", ((1.0,), (1.0, 2.0))),
        ("edges_hz", ()),
        ("edges_hz", ((3.0, 2.0, *range(4, 11)), (3.0, *range(4, 12)))),
        ("covariance", (((0.0,) * 10,) * 10,) * 2),
        ("covariance", (tuple((0.0,) * i + (1.0,) + (0.5,) * (9 - i) for i in range(10)),) * 2),
    ],
)
def test_a_reference_that_makes_no_sense_is_refused(field, value, reference):
    with pytest.raises(SpecError, match=f"reference.{field}"):
        msgspec.structs.replace(reference, **{field: value})


def test_a_manifest_s_reference_is_of_its_modalities(reference):
    spec = msgspec.structs.replace(
        SPEC, modalities=("eeg",), pathways=("mixed",), bands=SPEC.bands[:1], token_shape=(128,)
    )
    with pytest.raises(SpecError, match="expected 1 modalities, found 2"):
        BundleManifest(format=2, name="x", spec=spec, files={}, reference=reference)
