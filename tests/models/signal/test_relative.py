"""Levels relative to the animal's own: causal, the same under any chunking, and soon its own."""

from fractions import Fraction

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from models.errors import SpecError
from models.relative_spec import RelativeSpec
from models.signal.chunk import StreamDescription
from models.signal.features import Powers
from models.signal.montage import StreamChannels, SubjectChannels
from models.signal.pipeline import Pipeline
from models.signal.relative import Relative, relative_of
from tests.support.bundles import human_levels
from tests.support.signals import LEVELS, SPEC, noise, pipeline, run

N_EEG, N_EMG = relative_of("mouse").n_features
N = max(relative_of("mouse").n_levels)
OWN_EEG, OWN_EMG = relative_of("mouse").n_own
MOST = 5.0
ALL = np.ones((1, 2), bool)


def levels(n_subjects=1, hop_s=1.0, spec=LEVELS):
    return Relative(spec, n_subjects, hop_s)


def some_epochs(n, seed=0):
    """Return epochs (n, 2, 512) of noise, µV, that differ in colour and loudness."""
    rng = np.random.default_rng(seed)
    white = rng.standard_normal((n, 2, 512))
    slow = np.cumsum(white, axis=-1) / 10
    colour, loudness = rng.random((n, 2, 1)), np.exp(rng.normal(3.0, 0.5, (n, 2, 1)))
    return (loudness * (colour * white + (1 - colour) * slow)).astype(np.float32)


def powers(epochs, usable=None):
    return Powers(epochs, LEVELS.sfreq, usable)


def through(relative, epochs, usable=None):
    """Return what is given of epochs (n, 2, 512) of one subject, one after the other."""
    usable = np.ones((len(epochs), 2), bool) if usable is None else usable
    pairs = zip(epochs, usable, strict=True)
    found = [relative(powers(e[None], u[None]), u[None]) for e, u in pairs]
    return np.concatenate(found) if found else np.empty((0, 2, LEVELS.n_inputs), np.float32)


def usual_eeg(n_samples, sfreq=1000.0):
    """Return noise (n_samples,) of a person's usual spectrum, µV, which goes on falling."""
    relative = relative_of("human")
    edges, mean = np.array(relative.edges_hz[0]), np.array(relative.mean[0])
    middle, density = np.sqrt(edges[:-1] * edges[1:]), np.exp(mean) / np.diff(edges)
    frequency = np.fft.rfftfreq(n_samples, 1 / sfreq)
    power = np.exp(np.interp(np.log(np.maximum(frequency, 0.3)), np.log(middle), np.log(density)))
    power *= np.where(frequency > middle[-1], (middle[-1] / np.maximum(frequency, 1)) ** 2, 1.0)
    white = np.fft.rfft(np.random.default_rng(0).standard_normal(n_samples))
    x = np.fft.irfft(white * np.sqrt(power), n_samples)
    return 20 * x / x.std()


def assert_same_state(a, b):
    for name, array in a.state().items():
        np.testing.assert_array_equal(array, b.state()[name])


def inputs_of(pipe, data, sizes, sfreq=512.0):
    """Return what a net is given of samples that come through a pipeline, (n, 2, n_inputs)."""
    batches = run(pipe, data, 1234.5 + np.arange(len(data)) / sfreq, sizes)
    return np.concatenate([b.epochs for b in batches])


@settings(max_examples=20)
@given(
    sizes=st.lists(st.integers(1, 1500), min_size=1, max_size=6),
    sfreq=st.sampled_from([128.0, 511.96, 512.0, 1000.0]),
)
def test_any_chunking_gives_the_same_bits(sizes, sfreq):
    data = noise(round(6.2 * sfreq))
    data[round(2.5 * sfreq) : round(3.1 * sfreq), 1] = np.nan
    found, whole = (
        inputs_of(pipeline(sfreq=sfreq, spec=LEVELS), data, s, sfreq) for s in (sizes, [len(data)])
    )
    assert whole.shape == (6, 2, LEVELS.n_inputs)
    np.testing.assert_array_equal(found, whole)


@settings(max_examples=15)
@given(first=st.integers(0, 6 * 512), seed=st.integers(1, 5))
def test_later_samples_change_nothing_earlier(first, seed):
    data = noise(6 * 512)
    other = data.copy()
    other[first:] = 3 * noise(len(data) - first, seed=seed)
    a, b = (inputs_of(pipeline(spec=LEVELS), x, [200]) for x in (data, other))
    n = first // 512
    np.testing.assert_array_equal(a[:n], b[:n])
    assert not np.array_equal(a, b) or first == len(data)


def test_what_is_where():
    """EEG: shares, the power of all, shares against everyone. EMG: two amplitudes, then zeros."""
    relative = LEVELS.relative
    assert (N_EEG, OWN_EEG, N_EMG, OWN_EMG, N, LEVELS.n_inputs) == (13, 26, 2, 4, 38, 152)
    t = np.arange(512) / 512
    sine = np.stack([100 * np.sin(2 * np.pi * 17 * t), 20 * np.sin(2 * np.pi * 50 * t)])
    ((eeg, emg),) = levels().measure(powers(sine[None].astype(np.float32)))
    band = relative.edges_hz[0].index(15.0)
    assert eeg[band] == pytest.approx(0, abs=0.01)
    assert (np.delete(eeg[: N_EEG - 1], band) < -9).all()
    assert eeg[-1] == pytest.approx(np.log(100**2 / 2), abs=0.01)
    assert emg[0] == pytest.approx(np.log(20 / np.sqrt(2)), abs=0.01)
    assert emg[1] == pytest.approx(np.log(1.4826 * 20 / np.sqrt(2)), abs=0.02)
    first = levels()(powers(sine[None].astype(np.float32)), ALL)[0]
    of_eeg, found = first[:, :N]
    for mean in range(1, 4):  # an epoch is the mean of itself
        np.testing.assert_allclose(first[:, mean * N : (mean + 1) * N], first[:, :N], rtol=1e-5)
    everyone = ((eeg - relative.mean[0]) / relative.sd[0])[:-1]
    np.testing.assert_allclose(of_eeg[OWN_EEG:], np.clip(everyone, -MOST, MOST), rtol=1e-5)
    z = (emg[:N_EMG] - relative.mean[1]) / relative.sd[1]
    gain, step = 1 / 11, np.clip(z, -MOST, MOST)  # the population weighs 10 s, this epoch 1 s
    variance = 1 + gain * ((1 - gain) * step**2 - 1)
    own = (z - gain * step) / np.sqrt(variance + 0.1**2)
    np.testing.assert_allclose(found[:N_EMG], np.clip(own, -MOST, MOST), rtol=1e-5)
    assert not found[OWN_EMG:].any()


def in_parts(n_parts):
    relative = RelativeSpec(
        source="x",
        edges_hz=((2.0, 8.0, 24.0), ()),
        mean=((0.0,) * 3, (0.0,) * 2),
        sd=((1.0,) * 3, (1.0,) * 2),
        n_parts=n_parts,
    )
    return msgspec.structs.replace(LEVELS, relative=relative)


@settings(max_examples=20)
@given(st.sets(st.integers(0, 3), min_size=1, max_size=3), st.integers(0, 1000))
def test_whatever_stands_in_lost_parts_changes_nothing(lost, seed):
    relative, spec = in_parts(4).relative, in_parts(4)
    epochs, others = some_epochs(6, seed), some_epochs(6, seed + 1)
    gone = np.isin(np.arange(4), [*lost])
    samples, everywhere = np.repeat(gone, 128), np.tile(gone, (1, 2, 1))
    one, other = levels(spec=spec), levels(spec=spec)
    for epoch, different in zip(epochs, others, strict=True):
        changed = np.where(samples, different, epoch)
        found = one(powers(epoch[None]), ALL, everywhere)
        np.testing.assert_array_equal(found, other(powers(changed[None]), ALL, everywhere))
        assert_same_state(one, other)
        at_once = found.reshape(2, *relative.shape)[:, :4]
        mean = np.broadcast_to(at_once[:, ~gone].mean(axis=1, keepdims=True), at_once.shape)
        inside = (np.abs(at_once) < MOST).all(axis=1)  # the limit is of each part
        for m, within in enumerate(inside):
            np.testing.assert_allclose(
                at_once[m][gone][:, within], mean[m][gone][:, within], rtol=1e-4, atol=1e-5
            )


def test_a_long_epoch_is_told_in_parts():
    """What happens in one half of an epoch is in that half's levels, and nowhere else."""
    spec = in_parts(2)
    relative = spec.relative
    whole = msgspec.structs.replace(spec, relative=msgspec.structs.replace(relative, n_parts=1))
    (epoch,) = some_epochs(1)
    found = levels(spec=spec)(powers(epoch[None]), ALL).reshape(2, *relative.shape)
    assert relative.shape == (2 + 3, max(relative.n_levels))
    for part, half in enumerate((epoch[:, :256], epoch[:, 256:])):
        (alone,) = levels(spec=spec).measure(powers(half[None]))
        everyone = np.clip(alone[0, :2], -MOST, MOST)
        np.testing.assert_allclose(found[0, part, 3:5], everyone, rtol=1e-5)
    for mean in found[:, 2:].swapaxes(0, 1):
        np.testing.assert_allclose(mean, found[:, :2].mean(axis=1), atol=1e-5)
    twice = np.concatenate([epoch[:, :256]] * 2, axis=1)
    alike = levels(spec=spec)(powers(twice[None]), ALL).reshape(2, *relative.shape)
    np.testing.assert_array_equal(alike[:, 0], alike[:, 1])
    assert levels(spec=whole)(powers(epoch[None]), ALL).shape == (1, 2, whole.n_inputs)


def changed(**how):
    """Return the spec with other levels."""
    return msgspec.structs.replace(LEVELS, relative=msgspec.structs.replace(LEVELS.relative, **how))


MOMENTS = changed(own="moments")
QUANTILES = changed(own="quantiles", population=False, prior_s=200.0)


def test_both_kinds_stand_one_after_the_other():
    epochs = some_epochs(50)
    both, moments, quantiles = (
        through(levels(spec=spec), epochs).reshape(50, 2, *spec.relative.shape)
        for spec in (LEVELS, MOMENTS, changed(own="quantiles"))
    )
    for m, (own, n) in enumerate(((OWN_EEG, N_EEG), (OWN_EMG, N_EMG))):
        np.testing.assert_array_equal(both[:, m, :, :n], moments[:, m, :, :n])
        np.testing.assert_array_equal(both[:, m, :, n:own], quantiles[:, m, :, :n])
    shares = slice(N_EEG, None)
    np.testing.assert_array_equal(both[:, 0, :, OWN_EEG:], moments[:, 0, :, shares])
    np.testing.assert_array_equal(both[:, 0, :, OWN_EEG:], quantiles[:, 0, :, shares])


def with_loud(n, every):
    """Return epochs (n, 2, 512) of which one in so many is three times as loud as the others."""
    epochs = np.random.default_rng(3).normal(0.0, 20.0, (n, 2, 512)).astype(np.float32)
    epochs[::every] *= 3
    return epochs


def test_without_the_population_a_net_is_given_what_is_the_animal_s_own():
    assert max(QUANTILES.relative.n_levels) == N_EEG
    few = some_epochs(4)
    own = through(levels(spec=QUANTILES), few).reshape(4, 2, 4, N_EEG)
    assert np.isfinite(own).all()
    assert not own[:, 1, :, N_EMG:].any()


def test_without_the_total_no_gain_changes_what_a_net_is_given():
    edges = LEVELS.relative.edges_hz[0]
    n = len(edges) - 1
    relative = msgspec.structs.replace(
        QUANTILES.relative,
        edges_hz=(edges,) * 2,
        mean=(LEVELS.relative.mean[0][:n],) * 2,
        sd=(LEVELS.relative.sd[0][:n],) * 2,
        total=False,
    )
    spec = msgspec.structs.replace(LEVELS, relative=relative)
    assert (relative.n_features, relative.n_levels) == ((n, n), (n, n))
    few = some_epochs(20)
    found = [through(levels(spec=spec), np.float32(gain) * few) for gain in (1.0, 0.1, 10.0)]
    assert np.ptp(found[0]) > 1
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=1e-4)


def test_an_animal_s_percentiles_follow_its_own():
    """From the population's to those of an animal that varies half as much and is louder."""
    relative, epochs = levels(spec=QUANTILES), with_loud(3000, 2)
    rms = np.exp(LEVELS.relative.mean[1][0] + 0.2) / 20
    epochs[:, 1] *= rms * np.exp(np.random.default_rng(1).normal(0, 0.15, (3000, 1)))
    epochs[::2, 1] /= 3
    through(relative, epochs)
    found = (relative.measure(powers(epochs)) - relative._centre) / relative._scale
    low, high = np.quantile(found[:, 1, 0], [0.05, 0.95])
    state = relative.state()
    middle, spread = state["mean"][0, 1, 0], np.sqrt(state["variance"])[0, 1, 0]
    assert middle == pytest.approx((low + high) / 2, abs=0.15 * (high - low))
    own = (high - low) / (2 * 1.645)
    assert abs(spread - own) < 0.4 * abs(1 - own)  # the population's is 1


def test_percentiles_depend_less_than_moments_on_how_long_an_animal_is_in_a_stage():
    """The same two loudnesses, the louder one in a half or in a tenth of the epochs."""
    quiet = {}
    for kind, spec in (("moments", MOMENTS), ("quantiles", QUANTILES)):
        seen = [through(levels(spec=spec), with_loud(1500, every))[-1] for every in (2, 10)]
        quiet[kind] = abs(seen[0][1, 0] - seen[1][1, 0])
    assert quiet["quantiles"] < 0.75 * quiet["moments"]


def test_a_pipeline_gives_the_levels_of_microvolts():
    times = np.arange(4 * 512) / 512
    batches = run(pipeline(spec=LEVELS), noise(len(times)), times, [300])
    by_hand = through(levels(), np.concatenate([b.microvolts for b in batches]))
    np.testing.assert_array_equal(np.concatenate([b.epochs for b in batches]), by_hand)


def test_the_population_is_where_an_animal_begins():
    """One that is as the population is given nothing but zeros, at once."""
    epoch = some_epochs(1)
    eeg, emg = levels().measure(powers(epoch))[0]
    usual = msgspec.structs.replace(LEVELS.relative, mean=(tuple(eeg), tuple(emg[:N_EMG])))
    spec = msgspec.structs.replace(LEVELS, relative=usual)
    assert not levels(spec=spec)(powers(epoch), ALL).any()
    assert np.abs(levels()(powers(epoch), ALL)[0, 0]).max() > 0.5


def test_after_a_while_the_amplifier_s_gain_does_not_matter():
    """The same animal on four amplifiers, soon nearly the same."""
    gains = np.array([1.0, 3.0, 1 / 3, 5.0])
    relative, few = levels(4), some_epochs(60)
    seconds = np.random.default_rng(1).integers(len(few), size=1500)
    off = []
    for k in seconds:
        epochs = (gains[:, None, None] * few[k]).astype(np.float32)
        found = relative(powers(epochs), np.ones((4, 2), bool))
        off.append(np.abs(found - found[0])[1:])
    first, last = off[0], np.max(off[-60:], axis=0)
    assert last[:, 0, : N_EEG - 1].max() < 1e-3  # shares never depended on it
    for kind, most in ((0, 0.2), (1, 0.4)):  # moments, quantiles
        power = last[:, 0, (kind + 1) * N_EEG - 1]
        amplitudes = last[:, 1, kind * N_EMG : (kind + 1) * N_EMG]
        assert max(power.max(), amplitudes.max()) < most
    assert first[:, 1, :N_EMG].min() > 1


@settings(max_examples=20)
@given(stop=st.integers(0, 30), seed=st.integers(0, 5))
def test_it_goes_on_from_its_state_bit_for_bit(stop, seed):
    epochs = some_epochs(30, seed)
    usable = np.random.default_rng(seed).random((30, 2)) < 0.8
    whole = through(levels(), epochs, usable)
    first, second = levels(), levels()
    before = through(first, epochs[:stop], usable[:stop])
    second.load_state(first.state())
    second.load_recent(first.recent())
    assert_same_state(first, second)
    after = through(second, epochs[stop:], usable[stop:])
    np.testing.assert_array_equal(np.concatenate([before, after]), whole)


def test_the_last_seconds_are_counted_by_the_clock():
    """After a gap of ten time constants a running mean is that of what came since."""
    relative, epochs = levels(), some_epochs(80)
    through(relative, epochs[:64])
    before = through(relative, epochs[64:65])[0]
    through(relative, np.zeros_like(epochs[:40]), np.zeros((40, 2), bool))
    after = through(relative, epochs[65:66])[0]
    now, short, long = after[0, :N], after[0, N : 2 * N], after[0, 3 * N :]
    np.testing.assert_allclose(short, now, atol=0.01)
    np.testing.assert_allclose(long, before[0, 3 * N :], atol=0.5)
    assert np.abs(long - now).max() > 1


def test_a_state_is_a_copy():
    relative = levels()
    saved = relative.state()
    through(relative, some_epochs(3))
    assert not saved["seen_s"].any()
    again = levels()
    again.load_state(saved)
    saved["mean"] += 1
    assert_same_state(again, levels())


@settings(max_examples=30)
@given(
    usable=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=12),
    junk=st.sampled_from([0.0, 1e30, -3e38, np.nan, np.inf]),
)
def test_what_cannot_be_used_changes_nothing(usable, junk):
    usable = np.array(usable)
    clean = some_epochs(len(usable))
    dirty = np.where(usable[..., None], clean, np.float32(junk))
    a, b = levels(), levels()
    found = through(a, dirty, usable)
    np.testing.assert_array_equal(found[usable], through(b, clean, usable)[usable])
    assert np.isfinite(found).all()
    assert_same_state(a, b)
    for m in range(2):  # nor does it count as time
        alone = levels()
        through(alone, clean[usable[:, m]])
        for name, array in alone.state().items():
            np.testing.assert_array_equal(a.state()[name][:, m], array[:, m])


@pytest.mark.parametrize("level", [0.0, 1e-30, 5000.0, 1e15, 3e38])
def test_whatever_the_level_all_is_finite_and_within_its_limits(level):
    ordinary = some_epochs(20)
    extreme = np.full((20, 2, 512), level, np.float32) * np.sign(ordinary)
    found = through(levels(), np.concatenate([extreme, ordinary, extreme]))
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= MOST


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, 1e6])
def test_a_lost_channel_stays_finite_through_the_pipeline(bad):
    data = noise(6 * 512)
    data[700:1500, 0] = bad
    found = inputs_of(pipeline(spec=LEVELS), data, [300])
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= MOST


def test_a_channel_never_seen_begins_with_the_population():
    learnt = levels(2)
    for epoch in some_epochs(40):
        usable = np.array([[True, True], [True, False]])
        learnt(powers(np.stack([epoch, epoch]), usable), usable)
    state = learnt.state()
    state["mean"][1, 1], state["variance"][1, 1] = 7.0, 0.0  # as a file may have it
    again, fresh = levels(2), levels(2)
    again.load_state(state)
    again.load_recent(learnt.recent())
    epoch = powers(np.stack([some_epochs(1, seed=9)[0]] * 2))
    found, known = again(epoch, np.ones((2, 2), bool)), learnt(epoch, np.ones((2, 2), bool))
    new = fresh(epoch, np.ones((2, 2), bool))
    np.testing.assert_array_equal(found, known)
    np.testing.assert_array_equal(found[1, 1, :N], new[1, 1, :N])
    assert np.abs(found[0] - new[0]).max() > 0.1


def test_what_is_older_than_its_memory_is_forgotten():
    spec = changed(own="moments", memory_s=30.0)
    epochs = some_epochs(600)
    louder = 2 * epochs[:240]
    new, old = levels(spec=spec), levels(spec=spec)
    through(old, epochs)
    expected, found = through(new, louder)[-1], through(old, louder)[-1]
    np.testing.assert_allclose(found[:, :N], expected[:, :N], atol=0.02)
    np.testing.assert_allclose(found, expected, atol=0.1)


def test_a_hop_shorter_than_the_epoch_forgets_at_the_same_speed():
    spec = changed(own="moments", memory_s=60.0)
    whole, halves = levels(spec=spec), levels(hop_s=0.5, spec=spec)
    for epoch in some_epochs(200):
        whole(powers(epoch[None]), ALL)
        halves(powers(epoch[None]), ALL)
        halves(powers(epoch[None]), ALL)
    a, b = whole.state(), halves.state()
    np.testing.assert_array_equal(a["seen_s"], b["seen_s"])
    np.testing.assert_allclose(a["mean"], b["mean"], atol=0.03)
    np.testing.assert_allclose(a["variance"], b["variance"], rtol=0.05)


def test_subjects_do_not_touch_each_other():
    epochs, others = some_epochs(10), some_epochs(10, seed=1) * 3
    alone, both = levels(), levels(2)
    for epoch, other in zip(epochs, others, strict=True):
        found = both(powers(np.stack([epoch, other])), np.ones((2, 2), bool))
        np.testing.assert_array_equal(found[:1], alone(powers(epoch[None]), ALL))


def test_what_does_not_fit_is_one_sentence():
    with pytest.raises(SpecError, match="a model that is given relative levels, found one of samp"):
        levels(spec=SPEC)
    with pytest.raises(SpecError, match=r"'mean': expected shape \(2, 2, 26\), found \(1, 2, 26\)"):
        levels(2).load_state(levels(1).state())
    with pytest.raises(SpecError, match=r"levels 'sum': expected shape \(1, 2, 3, 38\), found"):
        levels().load_recent({})
    with pytest.raises(SpecError, match=r"'seen_s': expected shape \(1, 2\), found nothing"):
        levels().load_state({k: v for k, v in levels().state().items() if k != "seen_s"})


def test_a_species_that_nobody_measured_is_refused():
    with pytest.raises(SpecError, match="whose levels were measured, mouse or human, found rat"):
        relative_of("rat")


@pytest.mark.parametrize("slow_hz", [50, 56, 64, 80])
def test_what_a_slow_stream_cannot_show_is_not_taken_for_a_quiet_band(slow_hz):
    n_s, spec = 600, human_levels(30.0, relative_of("human"))
    eeg = usual_eeg(n_s * 1000)
    levels = []
    for down in (1000 / 250, 1000 / slow_hz):
        fraction = Fraction(down).limit_denominator()
        data = resample_poly(eeg, fraction.denominator, fraction.numerator)
        subject = SubjectChannels(name="p1", channels={"eeg": "EEG"})
        pipe = Pipeline(
            StreamChannels(name="bed", subjects=(subject,)),
            spec,
            StreamDescription("bed", ("EEG",), ("µV",), 1000 / down),
        )
        found = inputs_of(pipe, data[:, None].astype(np.float32), [10_000], 1000 / down)
        levels.append(found[:, 0].mean(axis=0))
    fast, slow = levels
    np.testing.assert_allclose(slow, fast, atol=0.45)
