"""The offline teacher: on mice it never saw, under other gains, and with signals lost; people's."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from models.errors import RecordingError, SpecError
from models.recordings.agreement import compare
from models.recordings.as_stream import condition, epochs_of
from models.recordings.open import ArrayRecording, Description
from models.signal.montage import StreamChannels, SubjectChannels
from models.spec import Band
from models.stages import MOUSE, to_indices
from models.teacher import (
    Levels,
    around,
    check_modalities,
    condition_and_teach,
    scaled,
    teach,
    teach_recording,
    teacher_of,
)
from models.training.simulated import FIRST_UNSEEN_SEED, simulate_subject


@pytest.fixture(scope="module")
def mouse():
    lab = simulate_subject("mouse", FIRST_UNSEEN_SEED + 701, 0.75, 256.0, every_stage=True)
    levels = Levels(teacher_of("mouse").spec, 1)
    for batch in epochs_of(lab.open(), lab.stream, teacher_of("mouse").spec):
        levels.add(batch.microvolts, batch.usable)
    return lab, *levels.of(0)


def test_it_stages_a_simulated_mouse_that_it_never_saw(mouse):
    lab, found, usable = mouse
    taught = teach(found, usable, teacher_of("mouse"))
    truth = lab.hypnograms["m1"].to_epochs(1.0, len(found))
    names = [MOUSE[s] for s in taught.stages.tolist()]
    assert compare(truth, names, MOUSE).kappa > 0.9
    sure = taught.probabilities.max(axis=1) >= 0.9
    right = taught.probabilities.argmax(axis=1) == to_indices(truth, MOUSE)
    assert sure.mean() > 0.8
    assert right[sure].mean() > 0.95
    assert np.count_nonzero(np.diff(taught.stages)) < 90


@pytest.mark.parametrize(
    ("species", "changes"),
    [
        ("mouse", {}),
        ("human", {}),
        ("human", {"relative": None}),
        ("mouse", {"sfreq": 128.0, "bands": (Band(0.5, 50.0), Band(10.0, 60.0)), "relative": None}),
    ],
)
def test_read_for_a_net_at_the_same_time_it_stages_alike(species, changes):
    weights = teacher_of(species)
    spec = msgspec.structs.replace(weights.spec, **changes)
    hours, sfreq = {"mouse": (0.05, 250.0), "human": (0.25, 128.0)}[species]
    lab = simulate_subject(species, FIRST_UNSEEN_SEED + 702, hours, sfreq)
    whole = lab.open()
    data, n = whole.read(0, whole.n_samples), whole.n_samples
    data[n // 4 : n // 2, 0] = 0.0  # the EEG's electrode is off
    data[n // 3 : n // 2] = 0.0  # then the other's, too
    lost = round(0.2 * spec.epoch_s * sfreq)  # parts of an epoch, which not every net forgives
    came = np.delete(np.arange(n), np.arange(n * 3 // 4, n * 3 // 4 + lost))
    said = Description(ch_names=whole.ch_names, units=("µV",) * 2, sfreq=sfreq, n_samples=len(came))
    night = ArrayRecording(Path("night"), said, data[came], came / sfreq)
    found, (taught,) = condition_and_teach(night, lab.stream, spec, weights)
    (alone,) = teach_recording(night, lab.stream, weights)
    levels = Levels(weights.spec, 1)
    for batch in epochs_of(night, lab.stream, weights.spec):
        levels.add(batch.microvolts, batch.usable)
    assert set(levels.of(0)[1].sum(axis=1)) == {0, 1, 2}
    np.testing.assert_array_equal(alone.stages, teach(*levels.of(0), weights).stages)
    for one, other in zip(
        (*found, *taught), (*condition(night, lab.stream, spec), *alone), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_a_gain_changes_nothing(mouse):
    _, found, usable = mouse
    louder = found.copy()
    louder[:, 0, -1] += 2 * np.log(3.0)  # log power of the EEG, which is thrice as high
    louder[:, 1] -= np.log(2.0)
    one, other = (teach(x, usable, teacher_of("mouse")) for x in (found, louder))
    np.testing.assert_allclose(other.probabilities, one.probabilities, atol=1e-9)
    np.testing.assert_array_equal(other.stages, one.stages)


def test_what_is_not_usable_is_not_looked_at(mouse):
    _, found, usable = mouse
    usable = usable.copy()
    usable[100:160, 1] = False
    usable[300:310] = False
    other = np.where(usable[..., None], found, 1e6)
    one, two = (teach(x, usable, teacher_of("mouse")) for x in (found, other))
    np.testing.assert_array_equal(one.probabilities, two.probabilities)
    lost = np.isnan(one.evidence).all(axis=1)
    assert np.flatnonzero(lost).tolist() == np.flatnonzero(~usable.any(axis=1)).tolist()
    assert np.isfinite(one.probabilities).all()


def test_levels_are_means_of_what_is_usable_around():
    rng = np.random.default_rng(1)
    found, usable = rng.normal(2.0, 3.0, (40, 2, 3)), rng.random((40, 2)) < 0.7
    got = around(scaled(found, usable), usable, [1, 5])
    for m in range(2):
        known = found[usable[:, m], m]
        told = (found[:, m] - known.mean(axis=0)) / np.sqrt(known.var(axis=0) + 0.05**2)
        for i in range(40):
            for s, (first, stop) in enumerate(((i, i + 1), (max(0, i - 2), i + 3))):
                part = told[first:stop][usable[first:stop, m]]
                mean = part.mean(axis=0) if len(part) else np.zeros(3)
                np.testing.assert_allclose(got[i, s, m], mean, atol=1e-9)


def test_an_epoch_is_read_by_what_there_is_of_it():
    """Of a person without EOG by the EEG's own regression; without EEG by the first."""
    weights, rng = teacher_of("human"), np.random.default_rng(3)
    assert weights.needed == ("eeg",)
    n, n_levels = 300, 2 * 9
    found = rng.normal(size=(n, 2, n_levels))
    usable = np.ones((n, 2), bool)
    usable[::3, 1] = False
    usable[1::3, 0] = False
    both, alone = weights.regressions
    mute = [
        msgspec.structs.replace(
            each,
            coefficients=tuple((0.0,) * len(row) for row in each.coefficients),
            intercepts=tuple(np.eye(5)[k].tolist()),
        )
        for k, each in ((2, both), (4, alone))
    ]
    told = teach(found, usable, msgspec.structs.replace(weights, regressions=tuple(mute)))
    by_eeg = usable[:, 0] & ~usable[:, 1]
    assert (told.evidence.argmax(axis=1) == np.where(by_eeg, 4, 2)).all()
    other = found.copy()
    other[:, 1] = 1e6
    lost = np.tile([True, False], (n, 1))
    one, two = (teach(x, lost, weights) for x in (found, other))
    np.testing.assert_array_equal(one.evidence, two.evidence)


def test_of_a_long_epoch_it_hears_how_far_its_parts_differ():
    spec = teacher_of("human").spec
    rng = np.random.default_rng(0)
    steady = np.tile(rng.normal(0, 20, 300), 10)
    burst = steady * np.repeat([1, 1, 1, 1, 1, 1, 1, 1, 1, 5], 300)
    slow = burst + 100 * np.sin(np.arange(3000) / 100 * 2 * np.pi * 1.5) * (np.arange(3000) < 1500)
    levels = Levels(spec, 1)
    for wave in (steady, burst, slow):
        levels.add(np.tile(wave, (1, 2, 1)).astype(np.float32), np.ones((1, 2), bool))
    found, usable = levels.of(0)
    assert found.shape == (3, 2, 18)
    assert usable.all()
    spread = found[:, 0, 9:]
    np.testing.assert_allclose(spread[0], np.log(0.1), atol=1e-6)  # all parts are the same
    np.testing.assert_allclose(spread[1], spread[0], atol=1e-6)  # shares do not know of loudness
    assert (spread[2] > spread[0] + 1).all()  # half of it has a slow wave


def test_it_refuses_what_it_cannot_read():
    one = SubjectChannels(name="a", channels={"eeg": "EEG1"})
    with pytest.raises(RecordingError, match=r"a: expected eeg and emg .* found no emg"):
        check_modalities(StreamChannels(name="s", subjects=(one,)), teacher_of("mouse"))
    human = teacher_of("human")
    eye = SubjectChannels(name="a", channels={"eog": "EOG"})
    with pytest.raises(RecordingError, match="expected eeg for the offline teacher, found no eeg"):
        check_modalities(StreamChannels(name="s", subjects=(eye,)), human)
    with pytest.raises(SpecError, match="a first regression that reads all modalities"):
        msgspec.structs.replace(human, regressions=human.regressions[1:]).__post_init__()
    with pytest.raises(SpecError, match="expected coefficients of shape"):
        msgspec.structs.replace(teacher_of("mouse"), spans_s=(5.0,)).__post_init__()
