"""One number out of range: it is masked while the filter rings of it, and forgotten after."""

from functools import cache
from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import UnitError
from models.signal.quality import MAX_UV, SETTLING
from tests.support.signals import LEVELS, SPEC, noise, pipeline, run

SFREQ, N_EPOCHS = 512, 18
TIMES = 1234.5 + np.arange(N_EPOCHS * SFREQ) / SFREQ
FORGOTTEN_S = {0: 5.7, 1: 2.0}
"""After one bad sample of each modality, s: at 512 Hz it takes the EEG 5.0 s and the EMG 0.6 s, and
as long as an epoch more for the last one that it touches."""
STEP_S = {0: 8.0, 1: 2.0}
"""The same after a level that stays elsewhere."""
TOLERANCE = 0.02
"""Of samples in running amplitudes, of levels in SDs; both are 1 or so."""

amplitude = st.one_of(
    st.floats(3.75, 6.0).map(lambda x: 10.0**x),
    st.floats(6.0, 38.5).map(lambda x: min(10.0**x, 3.4e38)),
    st.sampled_from([2e4, 2e5, 0.99 * MAX_UV, 1.01 * MAX_UV, 4e8, 3.4e38]),
)
anywhere = st.one_of(
    st.integers(0, 3),
    st.integers(0, 8 * SFREQ),
    st.builds(lambda hop, left: hop * SFREQ - left, st.integers(1, 8), st.integers(1, 5)),
)


def with_bad(where, value, channel, n_subjects=2):
    data = noise(len(TIMES), n_subjects)
    data[where, channel] = value
    return data


def epochs(data, spec=SPEC, sizes=(100,), n_subjects=2):
    return run(pipeline(n_subjects, spec=spec), data, TIMES, list(sizes))


def without(channel, where, value, masked, spec):
    """The epochs of the recording without the number, where the same ones are masked.

    One of the first three samples is as large as a signal's, which is the same to their median.
    """
    kept = np.clip(value, -200, 200) if where < 3 and abs(value) <= MAX_UV else np.nan
    pipe, hops = pipeline(2, spec=spec), count()
    assess = pipe._quality.assess

    def assess_and_mask(*epoch):
        found = assess(*epoch)
        if next(hops) in masked:
            found.reasons[divmod(channel, 2)] = SETTLING
        return found

    pipe._quality.assess = assess_and_mask
    return run(pipe, with_bad(where, kept, channel), TIMES, [100])


@cache
def undisturbed(of_samples):
    return epochs(noise(len(TIMES), 2), SPEC if of_samples else LEVELS)


@pytest.mark.parametrize("spec", [SPEC, LEVELS], ids=["samples", "levels"])
@settings(max_examples=25, deadline=None)
@given(value=amplitude, sign=st.sampled_from([-1, 1]), where=anywhere, modality=st.integers(0, 1))
def test_one_number_is_masked_and_forgotten(spec, value, sign, where, modality):
    found = epochs(with_bad(where, sign * value, modality), spec)
    plain = undisturbed(spec is SPEC)
    assert all(np.isfinite(b.epochs).all() for b in found)
    for a, b in zip(found, plain, strict=True):  # the other animal, and its other modality
        assert np.array_equal(a.epochs[1], b.epochs[1])
        assert np.array_equal(a.epochs[0, 1 - modality], b.epochs[0, 1 - modality])
    masked = [b.hop for b in found if not b.usable[0, modality]]
    hop = where // SFREQ
    last = (where / SFREQ) + FORGOTTEN_S[modality]
    assert masked == list(range(masked[0], masked[-1] + 1)) if masked else True
    assert all(hop <= k < last for k in masked)
    missing = without(modality, where, sign * value, masked, spec)
    for k in range(int(last) + 1, N_EPOCHS):
        np.testing.assert_allclose(
            found[k].epochs[0, modality], missing[k].epochs[0, modality], atol=TOLERANCE
        )


@pytest.mark.parametrize("spec", [SPEC, LEVELS], ids=["samples", "levels"])
@pytest.mark.parametrize("left", range(1, 6))
def test_one_number_in_the_last_samples_of_an_epoch_bends_nothing(spec, left):
    where = 3 * SFREQ - left
    found = epochs(with_bad(where, -1e4, 1), spec)
    masked = [b.hop for b in found if not b.usable[0, 1]]
    assert masked == [2, 3]
    for a, b in zip(found[4:], without(1, where, -1e4, masked, spec)[4:], strict=True):
        np.testing.assert_allclose(a.epochs[0, 1], b.epochs[0, 1], atol=TOLERANCE)


@settings(max_examples=10, deadline=None)
@given(value=amplitude, where=anywhere, sizes=st.lists(st.integers(1, 1500), min_size=1))
def test_chunking_changes_no_bit_of_it(value, where, sizes):
    data = with_bad(where, value, 0)
    for a, b in zip(epochs(data), epochs(data, sizes=sizes), strict=True):
        assert np.array_equal(a.epochs, b.epochs)
        assert np.array_equal(a.reasons, b.reasons)


@pytest.mark.parametrize("value", [2e5, -9e5])
@pytest.mark.parametrize("where", range(3))
def test_one_number_that_a_source_is_switched_on_with_costs_nothing(where, value):
    found, usual = (
        epochs(with_bad(where, value, 0)),
        epochs(with_bad(where, np.sign(value) * 200.0, 0)),
    )
    assert all(b.usable.all() for b in found)
    for a, b in zip(found, usual, strict=True):
        np.testing.assert_array_equal(a.epochs, b.epochs)


@pytest.mark.parametrize("where", [4, 5 * SFREQ + 100])
@pytest.mark.parametrize("value", [2e4, 2e5, -9e5])
def test_while_the_filter_rings_of_it_the_message_says_settling(where, value):
    reasons = [b.reasons[0, 0] for b in epochs(with_bad(where, value, 0))]
    hop = where // SFREQ
    assert reasons[hop : hop + 2] == ["settling"] * 2
    assert set(reasons) == {"ok", "settling"}


@pytest.mark.parametrize("number", [-4e8, 3.4e38, np.inf, np.nan])
def test_what_no_amplifier_gives_is_not_filtered_and_costs_nothing_else(number):
    found = epochs(with_bad(5 * SFREQ + 100, number, 0))
    missing = epochs(with_bad(5 * SFREQ + 100, np.nan, 0))
    for a, b in zip(found, missing, strict=True):
        assert a.usable.all()
        assert np.array_equal(a.epochs, b.epochs)


@pytest.mark.parametrize("step", [1e4, 2e5, -9e5])
def test_a_level_that_stays_elsewhere_is_forgotten_too(step):
    data = noise(len(TIMES), 1)
    data[8 * SFREQ + 7 :, 0] += np.float32(step)
    found, plain = (epochs(d, n_subjects=1) for d in (data, noise(len(TIMES), 1)))
    masked = [b.hop for b in found if not b.usable[0, 0]]
    assert masked == list(range(8, masked[-1] + 1))
    assert masked[-1] < 8 + STEP_S[0]
    for a, b in zip(found[masked[-1] + 2 :], plain[masked[-1] + 2 :], strict=True):
        np.testing.assert_allclose(a.epochs, b.epochs, atol=0.15)  # other epochs made the level


def test_an_offset_of_an_electrode_is_no_fault():
    found = epochs(noise(len(TIMES), 1) + np.float32(250_000), n_subjects=1)
    assert all(b.usable.all() for b in found)


def test_a_wrong_unit_is_named_also_where_its_numbers_are_out_of_range():
    with pytest.raises(UnitError, match="look like µV"):
        run(pipeline(unit="V"), noise(len(TIMES)), TIMES, [512])
