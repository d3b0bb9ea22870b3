"""The filter and the smoother against all paths, and against themselves one epoch at a time."""

from itertools import pairwise, product

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.errors import SpecError
from models.grammar import Filter, equilibrium, grammar_of, transitions, transitions_of
from models.recordings.agreement import compare
from models.simulator.mouse.hypnogram import draw_hypnogram, mouse_statistics
from models.spec import Grammar
from models.stages import HUMAN, MOUSE
from tests.support.bundles import mouse_grammar

FAST = Grammar(
    source="made up",
    rates=((0.0, 0.2, 0.05), (0.3, 0.0, 0.1), (0.4, 0.02, 0.0)),
    beta_live=0.7,
    beta_final=0.4,
)
TEMPERATURES = {"temperature_live": 2.0, "temperature_final": 1.5}
TEMPERED = msgspec.structs.replace(mouse_grammar(), **TEMPERATURES)
seeds = st.integers(0, 2**32 - 1)


def evidence_of(rng, *shape):
    """Evidence with epochs that have none, and stages that are given nothing at all."""
    found = rng.dirichlet(np.full(3, 0.3), size=shape).astype(np.float32)
    found[rng.random(shape) < 0.1] = np.eye(3)[0]
    found[rng.random(shape) < 0.2] = np.nan
    return found


def posterior(grammar, own, ahead, beta):
    """Add up all paths: (S,) of the last epoch of `own`, (n, S), given `ahead`, (m, S), too."""
    step, weights = transitions(grammar, 1.0), np.concatenate([own, ahead]).astype(np.float64)
    weights = np.where(np.isnan(weights), 1.0, np.maximum(weights, 1e-6)) ** beta
    found = np.zeros(3)
    for path in product(range(3), repeat=len(weights)):
        p = equilibrium(grammar)[path[0]]
        for before, after in pairwise(path):
            p *= step[before, after]
        found[path[len(own) - 1]] += p * np.prod([w[s] for w, s in zip(weights, path, strict=True)])
    return found / found.sum()


@settings(max_examples=25)
@given(seeds, st.integers(1, 4), st.integers(0, 3))
def test_they_give_the_posterior_over_all_paths(seed, n, lag):
    evidence = evidence_of(np.random.default_rng(seed), n, lag + 1)
    of_rates = Filter(FAST, 1.0)
    live = final = of_rates.start
    for epoch in evidence:
        live, _ = of_rates.live(live, epoch[0])
        final, found = of_rates.final(final, epoch)
    own, nothing = evidence[:, 0], np.empty((0, 3))
    np.testing.assert_allclose(live, posterior(FAST, own, nothing, 0.7), atol=1e-9)
    np.testing.assert_allclose(final, posterior(FAST, own, nothing, 0.4), atol=1e-9)
    np.testing.assert_allclose(found, posterior(FAST, own, evidence[-1, 1:], 0.4), atol=1e-9)


def paths(grammar, evidence, beta):
    """All courses of stages and the chance of each, from the equilibrium before the first epoch."""
    step, start = transitions(grammar, 1.0), equilibrium(grammar)
    weights = np.where(np.isnan(evidence), 1.0, np.maximum(evidence, 1e-6)) ** beta
    for path in product(range(3), repeat=len(evidence)):
        ways = [start @ step[:, path[0]], *(step[pair] for pair in pairwise(path))]
        yield path, np.prod(ways) * np.prod(weights[np.arange(len(path)), path])


@settings(max_examples=25)
@given(seeds, st.integers(1, 6))
@example(6453, 1)  # the stage before the first epoch is no part of the course
def test_a_whole_recording_gets_its_posterior_and_its_likeliest_course(seed, n):
    evidence = evidence_of(np.random.default_rng(seed), n).astype(np.float64)
    of_rates = Filter(FAST, 1.0)
    chances = dict(paths(FAST, evidence, FAST.beta_final))
    expected = np.zeros((n, 3))
    for path, chance in chances.items():
        expected[np.arange(n), path] += chance
    expected /= sum(chances.values())
    np.testing.assert_allclose(of_rates.whole(evidence), expected, atol=1e-9)
    best = of_rates.best_path(evidence)
    assert chances[tuple(best.tolist())] == pytest.approx(max(chances.values()), rel=1e-9)


@settings(max_examples=40)
@given(seeds, st.integers(1, 12), st.integers(0, 4), st.integers(1, 70))
def test_a_whole_recording_gets_the_bits_of_epoch_by_epoch_and_row_by_row(seed, n, lag, rows):
    evidence = evidence_of(np.random.default_rng(seed), n, rows, lag + 1)
    of_rates = Filter(TEMPERED, 1.0)
    live, final = of_rates.live_all(evidence[:, :, 0]), of_rates.final_all(evidence)
    assert np.isfinite(live).all()
    assert np.isfinite(final).all()
    together = alone = np.tile(of_rates.start, (rows, 1))
    smoothed = np.tile(of_rates.start, (rows, 1))
    for k in range(n):
        together, found = of_rates.live(together, evidence[k, :, 0])
        np.testing.assert_array_equal(found, live[k])
        each = [of_rates.live(*row) for row in zip(alone, evidence[k, :, 0], strict=True)]
        alone = np.stack([belief for belief, _ in each])
        np.testing.assert_array_equal(alone, together)
        np.testing.assert_array_equal([row for _, row in each], live[k])
        one = of_rates.final(smoothed[-1], evidence[k, -1])
        smoothed, found = of_rates.final(smoothed, evidence[k])
        np.testing.assert_array_equal(found, final[k])
        np.testing.assert_array_equal(one, [smoothed[-1], found[-1]])


@settings(max_examples=25)
@given(seeds, st.integers(1, 30))
def test_a_temperature_changes_how_sure_and_not_what(seed, n):
    evidence = evidence_of(np.random.default_rng(seed), n, 5)
    plain, calm = Filter(FAST, 1.0), Filter(msgspec.structs.replace(FAST, **TEMPERATURES), 1.0)
    for usual, tempered, temperature in (
        (plain.live_all(evidence[:, 0]), calm.live_all(evidence[:, 0]), 2.0),
        (plain.final_all(evidence), calm.final_all(evidence), 1.5),
    ):
        wanted = usual ** (1 / temperature)
        wanted /= wanted.sum(axis=-1, keepdims=True)
        np.testing.assert_allclose(tempered, wanted, atol=1e-12)


def test_a_long_gap_ends_at_the_equilibrium_where_it_all_begins():
    of_rates = Filter(mouse_grammar(), 1.0)
    nothing = np.full((20_000, 3), np.nan, np.float32)
    np.testing.assert_allclose(of_rates.live_all(nothing), np.tile(of_rates.start, (20_000, 1)))
    rem = np.concatenate([np.tile(np.float32([0.05, 0.05, 0.9]), (30, 1)), nothing])
    belief = of_rates.live_all(rem)
    assert belief[29, 2] > 0.99
    assert belief[29 + 10, 2] > 0.8
    np.testing.assert_allclose(belief[-1], of_rates.start, atol=1e-6)


def test_of_noisy_evidence_there_are_fewer_transitions_and_more_of_them_are_true():
    rng = np.random.default_rng(1)
    truth = np.array([MOUSE.index(s) for s in draw_hypnogram(rng, 4 * 3600)])
    noisy = np.log(rng.dirichlet(np.ones(3), size=len(truth))) + 1.2 * np.eye(3)[truth]
    said = (np.exp(noisy) / np.exp(noisy).sum(axis=1, keepdims=True)).astype(np.float32)
    windows = np.stack([said[k : len(said) - 4 + k] for k in range(5)], axis=1)
    of_rates = Filter(mouse_grammar(), 1.0)
    found = {"raw": said, "live": of_rates.live_all(said), "final": of_rates.final_all(windows)}
    per_hour, kappa = {}, {}
    for name, probabilities in found.items():
        stages = probabilities.argmax(axis=1)
        per_hour[name] = np.count_nonzero(np.diff(stages)) / 4
        names = [MOUSE[s] for s in stages.tolist()]
        kappa[name] = compare([MOUSE[s] for s in truth[: len(names)].tolist()], names, MOUSE).kappa
    assert per_hour["raw"] > 1000
    assert per_hour["live"] < 100
    assert per_hour["final"] < 100
    assert kappa["raw"] + 0.1 < kappa["live"] < kappa["final"]


def test_the_packaged_rates_lead_to_the_sleep_of_mice():
    counted = transitions_of("mouse")
    assert counted.n_transitions[0][2] == 39  # Wake to REM: seldom, and not never
    assert counted.rates[0][2] == pytest.approx(40 / (4 * counted.n_epochs[0]), rel=1e-3)
    shares = mouse_statistics().time_fraction
    np.testing.assert_allclose(
        equilibrium(mouse_grammar()), [shares[stage] for stage in MOUSE], atol=0.02
    )


def test_the_packaged_rates_of_people_lead_to_their_sleep():
    """Time in stage of the counted nights themselves, and no stage that is an island."""
    counted = transitions_of("human")
    assert counted.stages == HUMAN
    shares = np.array(counted.n_epochs) / sum(counted.n_epochs)
    np.testing.assert_allclose(equilibrium(grammar_of("human", 1.0, 1.0)), shares, atol=0.02)
    assert counted.n_transitions[0][1] > 5 * counted.n_transitions[0][2]  # sleep begins with N1


def test_a_species_that_nobody_counted_is_refused():
    with pytest.raises(SpecError, match="counted, mouse or human, found rat"):
        grammar_of("rat", 1.0, 1.0)
