"""The offline teacher: on simulated mice it never saw, under other gains, and with signals lost."""

import msgspec
import numpy as np
import pytest

from models.errors import RecordingError, SpecError
from models.recordings.agreement import compare
from models.recordings.as_stream import epochs_of
from models.signal.montage import StreamChannels, SubjectChannels
from models.stages import MOUSE, to_indices
from models.teacher import (
    Levels,
    around,
    check_modalities,
    mouse_teacher,
    teach,
    teach_recording,
)
from models.training.simulated import FIRST_UNSEEN_SEED, simulate_subject


@pytest.fixture(scope="module")
def mouse():
    lab = simulate_subject("mouse", FIRST_UNSEEN_SEED + 701, 0.75, 256.0, every_stage=True)
    levels = Levels(mouse_teacher().spec, 1)
    for batch in epochs_of(lab.open(), lab.stream, mouse_teacher().spec):
        levels.add(batch.microvolts, batch.usable)
    return lab, *levels.of(0)


def test_it_stages_a_simulated_mouse_that_it_never_saw(mouse):
    lab, found, usable = mouse
    (taught,) = teach_recording(lab.open(), lab.stream)
    np.testing.assert_array_equal(taught.stages, teach(found, usable, mouse_teacher()).stages)
    truth = lab.hypnograms["m1"].to_epochs(1.0, len(found))
    names = [MOUSE[s] for s in taught.stages.tolist()]
    assert compare(truth, names, MOUSE).kappa > 0.9
    sure = taught.probabilities.max(axis=1) >= 0.9
    right = taught.probabilities.argmax(axis=1) == to_indices(truth, MOUSE)
    assert sure.mean() > 0.8
    assert right[sure].mean() > 0.95
    assert np.count_nonzero(np.diff(taught.stages)) < 90


def test_a_gain_changes_nothing(mouse):
    _, found, usable = mouse
    louder = found.copy()
    louder[:, 0, -1] += 2 * np.log(3.0)  # log power of the EEG, which is thrice as high
    louder[:, 1] -= np.log(2.0)
    one, other = (teach(x, usable, mouse_teacher()) for x in (found, louder))
    np.testing.assert_allclose(other.probabilities, one.probabilities, atol=1e-9)
    np.testing.assert_array_equal(other.stages, one.stages)


def test_what_is_not_usable_is_not_looked_at(mouse):
    _, found, usable = mouse
    usable = usable.copy()
    usable[100:160, 1] = False
    usable[300:310] = False
    other = np.where(usable[..., None], found, 1e6)
    one, two = (teach(x, usable, mouse_teacher()) for x in (found, other))
    np.testing.assert_array_equal(one.probabilities, two.probabilities)
    lost = np.isnan(one.evidence).all(axis=1)
    assert np.flatnonzero(lost).tolist() == np.flatnonzero(~usable.any(axis=1)).tolist()
    assert np.isfinite(one.probabilities).all()


def test_levels_are_means_of_what_is_usable_around():
    rng = np.random.default_rng(1)
    found, usable = rng.normal(2.0, 3.0, (40, 2, 3)), rng.random((40, 2)) < 0.7
    got = around(found, usable, [1, 5]).reshape(40, 2, 2, 3)
    for m in range(2):
        known = found[usable[:, m], m]
        scaled = (found[:, m] - known.mean(axis=0)) / np.sqrt(known.var(axis=0) + 0.05**2)
        for i in range(40):
            for s, (first, stop) in enumerate(((i, i + 1), (max(0, i - 2), i + 3))):
                part = scaled[first:stop][usable[first:stop, m]]
                mean = part.mean(axis=0) if len(part) else np.zeros(3)
                np.testing.assert_allclose(got[i, s, m], mean, atol=1e-9)


def test_it_refuses_what_it_cannot_read():
    one = SubjectChannels(name="a", channels={"eeg": "EEG1"})
    with pytest.raises(RecordingError, match=r"a: expected eeg and emg .* found no emg"):
        check_modalities(StreamChannels(name="s", subjects=(one,)), mouse_teacher().spec)
    with pytest.raises(SpecError, match="expected coefficients of shape"):
        msgspec.structs.replace(mouse_teacher(), spans_s=(5.0,)).__post_init__()
