"""What the stager says, held against the engine stepped by hand."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from daemon.config import StagingConfig
from daemon.messages import Features
from daemon.stager import Stager
from engines.bundle import open_bundle
from engines.errors import EngineError
from engines.select import open_engine
from models.errors import ConfigError
from models.grammar import Filter
from models.signal.pipeline import EpochBatch
from models.signal.state import Adaptation, PipelineState
from tests.support.bundles import TINY, make_bundle, mouse_grammar

N_CONTEXT = 16
LAG = 3


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return open_bundle(make_bundle(tmp_path_factory.mktemp("bundle"), N_CONTEXT, **TINY))


def engine(bundle, n_rows, hops=1):
    return open_engine(bundle, "onnxruntime", n_rows=n_rows, hops_per_epoch=hops)


def batch(
    epoch,
    reasons,
    stream="a",
    hop_s=1.0,
    drift=None,
    features=None,
    lead_off=None,
    unseen_s=None,
    lost_s=None,
):
    """An epoch of noise; `reasons` (n_subjects, n_modalities)."""
    reasons = np.array(reasons, dtype=object)
    rng = np.random.default_rng(epoch + 1000 * len(stream))
    epochs = rng.normal(size=(*reasons.shape, 512)).astype(np.float32)
    nothing = np.zeros(reasons.shape)
    learnt = Adaptation(*(nothing for _ in Adaptation.__slots__))
    after = PipelineState(0.0, epoch + 1, epoch + 1.0, 0.0, 0.0, learnt, {})
    drift = np.full(reasons.shape, np.nan) if drift is None else np.array(drift)
    off = np.full(len(reasons), np.nan) if lead_off is None else np.array(lead_off)
    onset, usable = epoch * hop_s, reasons == "ok"
    return EpochBatch(
        *(stream, epoch, onset, epochs, usable, reasons, float(epoch), after, drift, nothing),
        *(epochs, np.array(features if features is not None else nothing), off),
        np.zeros(len(reasons)) if unseen_s is None else np.array(unseen_s),
        nothing if lost_s is None else np.array(lost_s),
    )


GOOD = [["ok", "ok"]]


def test_live_is_the_last_slot_and_final_the_same_epoch_read_later(bundle):
    batches = [batch(k, GOOD) for k in range(20)]
    stager = Stager(engine(bundle, 1), {"a": ["m1"]}, StagingConfig(final_lag=LAG))
    estimates = [e for b in batches for e in stager.stage([b])] + stager.flush()
    by_hand = engine(bundle, 1)
    row = np.array([0])
    readings = [by_hand.step(b.epochs, row, b.usable)[0, 0] for b in batches]
    live = [e for e in estimates if e.kind == "live"]
    final = [e for e in estimates if e.kind == "final"]
    assert [e.hop for e in live] == [e.hop for e in final] == list(range(20))
    for k in range(20):
        later = min(k + LAG, 19)
        np.testing.assert_array_equal(live[k].probabilities, readings[k][-1])
        np.testing.assert_array_equal(final[k].probabilities, readings[later][-1 - (later - k)])
        assert live[k].stage == bundle.spec.stages[readings[k][-1].argmax()]
    assert [e.slots_filled for e in live] == [min(k + 1, N_CONTEXT) for k in range(20)]


def test_live_estimates_come_at_the_hop_and_finals_at_the_epoch(bundle):
    batches = [batch(k, GOOD, hop_s=0.5) for k in range(13)]
    stager = Stager(engine(bundle, 1, hops=2), {"a": ["m1"]}, StagingConfig(hop_s=0.5, final_lag=2))
    estimates = [e for b in batches for e in stager.stage([b])] + stager.flush()
    by_hand = engine(bundle, 1, hops=2)
    readings = [by_hand.step(b.epochs, np.array([0]), b.usable)[0, 0] for b in batches]
    assert [e.hop for e in estimates if e.kind == "live"] == list(range(13))
    final = {e.hop: e for e in estimates if e.kind == "final"}
    assert [*final] == [0, 2, 4, 6, 8, 10, 12]
    for k, estimate in final.items():
        hops = max(h for h in (0, 2, 4) if k + h < 13)
        np.testing.assert_array_equal(estimate.probabilities, readings[k + hops][-1 - hops // 2])


@pytest.mark.parametrize(
    ("reasons", "pathway", "stage"),
    [
        (["ok", "flat"], "eeg", None),
        (["out_of_range", "ok"], "emg", None),
        (["missing", "missing"], None, "UNKNOWN"),
        (["flat", "not_finite"], None, "UNKNOWN"),
        (["clipped", "out_of_range"], None, "ART"),
        (["clipped", "flat"], None, "UNKNOWN"),
    ],
)
def test_an_unusable_modality_falls_back_and_none_is_said(bundle, reasons, pathway, stage):
    stager = Stager(engine(bundle, 1), {"a": ["m1"]}, StagingConfig(final_lag=LAG))
    stager.stage([batch(k, GOOD) for k in range(5)])
    live = next(e for e in stager.stage([batch(5, [reasons])]) if e.hop == 5)
    final = next(e for e in stager.flush() if e.hop == 5)
    for estimate in (live, final):
        assert estimate.pathway == pathway
        assert estimate.validity == dict(zip(("eeg", "emg"), reasons, strict=True))
        if pathway is None:
            assert estimate.stage == stage
            assert estimate.probabilities is None
            assert estimate.reason == f"eeg {reasons[0]}, emg {reasons[1]}"
        else:
            assert estimate.stage in bundle.spec.stages
            assert estimate.reason is None
            assert estimate.probabilities.sum() == pytest.approx(1.0, abs=1e-5)


def test_what_is_lost_of_what_is_read_is_told_and_nothing_of_a_whole_epoch(bundle):
    stager = Stager(engine(bundle, 2), {"a": ["m1", "m2"]}, StagingConfig())
    reasons = [["ok", "flat"], ["ok", "ok"]]
    one, other = stager.stage([batch(0, reasons, lost_s=[[0.0123456, 1.0], [0.0, 0.0]])])
    assert (one.lost_s, other.lost_s) == ({"eeg": 0.012}, {})


@pytest.mark.parametrize(("why", "stage"), [("ok", None), ("no_brain", "ART"), ("flat", "UNKNOWN")])
def test_nothing_is_told_of_a_modality_that_a_subject_has_no_channel_of(bundle, why, stage):
    """It is no trouble, and an artefact of the other is no lack of a signal."""
    stager = Stager(engine(bundle, 1), {"a": ["m1"]}, StagingConfig(final_lag=LAG))
    (live,) = stager.stage([batch(0, [[why, "absent"]])])
    assert live.validity == {"eeg": why}
    assert live.reason == (None if stage is None else f"eeg {why}")
    assert stage is None or live.stage == stage


def test_unimodal_estimates_are_the_engine_s_unimodal_pathway(bundle):
    reasons = [GOOD, GOOD, [["ok", "flat"]], GOOD, GOOD, GOOD]
    batches = [batch(k, r) for k, r in enumerate(reasons)]
    stager = Stager(engine(bundle, 1), {"a": ["m1"]}, StagingConfig(final_lag=LAG))
    estimates = stager.stage(batches)
    by_hand = engine(bundle, 1)
    readings = [by_hand.step(b.epochs, np.array([0]), b.usable, unimodal=True)[0] for b in batches]
    live, final = (
        next(e for e in estimates if (e.hop, e.kind) == (2, k)) for k in ("live", "final")
    )
    np.testing.assert_array_equal(live.probabilities, readings[2][1, -1])
    np.testing.assert_array_equal(final.probabilities, readings[5][1, -1 - LAG])


def test_streams_are_batched_and_stay_apart(bundle):
    subjects = {"a": ["m1", "m2"], "b": ["m3"]}
    two = [GOOD[0], GOOD[0]]
    together = [batch(0, two), batch(0, GOOD, "b"), batch(1, two), batch(2, two)]
    stager = Stager(engine(bundle, 3), subjects, StagingConfig(final_lag=0))
    live = [e for e in stager.stage(together) if e.kind == "live"]
    assert [(e.stream, e.subject, e.hop) for e in live] == [
        ("a", "m1", 0), ("a", "m2", 0), ("b", "m3", 0),
        ("a", "m1", 1), ("a", "m2", 1), ("a", "m1", 2), ("a", "m2", 2),
    ]  # fmt: skip
    alone = Stager(engine(bundle, 2), {"a": subjects["a"]}, StagingConfig(final_lag=0))
    single = [e for e in alone.stage([b for b in together if b.stream == "a"]) if e.kind == "live"]
    for one, both in zip(single, [e for e in live if e.stream == "a"], strict=True):
        np.testing.assert_allclose(one.probabilities, both.probabilities, atol=1e-6)


def test_what_is_usable_of_an_epoch_is_told_with_it(bundle):
    nan = float("nan")
    levels = [[12.3, -4.5, 6.7], [nan, nan, 6.7], [12.3, -4.5, nan], [nan, nan, nan]]
    reasons = [["ok", "ok"], ["flat", "ok"], ["ok", "flat"], ["flat", "flat"]]
    stager = Stager(engine(bundle, 4), {"a": ["m1", "m2", "m3", "m4"]}, StagingConfig())
    live = stager.stage([batch(0, reasons, features=levels)])
    assert [e.features for e in live] == [
        Features(eeg_db=(12.3, -4.5), emg_db=6.7),
        Features(eeg_db=(), emg_db=6.7),
        Features(eeg_db=(12.3, -4.5), emg_db=None),
        None,
    ]


def test_whose_newest_seconds_show_no_brain_is_told_of_that_subject_alone(bundle):
    stager = Stager(engine(bundle, 2), {"a": ["m1", "m2"]}, StagingConfig())
    live = stager.stage([batch(0, GOOD * 2, lead_off=[float("nan"), 3.4], unseen_s=[0.0, 2.0])])
    assert [(e.subject, e.lead_off, e.unseen_s) for e in live] == [
        ("m1", None, 0.0),
        ("m2", 3.4, 2.0),
    ]


def test_an_epoch_that_the_engine_failed_on_shifts_no_final_one(bundle, monkeypatch):
    def run(opened, n):
        stager = Stager(opened, {"a": ["m1"]}, StagingConfig(final_lag=LAG), GRAMMAR)
        for k in range(n):
            stager.stage([batch(k, GOOD)])
        return stager

    def fail(*args, **kwargs):
        raise EngineError("lost")

    opened = engine(bundle, 1)
    stager = run(opened, 8)
    monkeypatch.setattr(opened, "step", fail)
    with pytest.raises(EngineError, match="lost"):
        stager.stage([batch(8, GOOD)])
    same(stager.flush(), run(engine(bundle, 1), 8).flush())


def test_lag_beyond_the_window_is_refused(bundle):
    with pytest.raises(ConfigError, match="less than the context window of 16 epochs, found 16"):
        Stager(engine(bundle, 1), {"a": ["m1"]}, StagingConfig(final_lag=N_CONTEXT))


GRAMMAR = msgspec.structs.replace(mouse_grammar(), temperature_live=2.0, temperature_final=1.5)
MIXED_BAG = [GOOD, GOOD, [["ok", "flat"]], [["flat", "flat"]], [["clipped", "ok"]], GOOD, GOOD]


def same(ones, others):
    """Whether estimates are the same, to the bit."""
    assert len(ones) == len(others) > 0
    for one, other in zip(ones, others, strict=True):
        assert (one.subject, one.kind, one.hop, one.stage, one.pathway, one.reason) == (
            *(other.subject, other.kind, other.hop, other.stage, other.pathway, other.reason),
        )
        np.testing.assert_array_equal(one.probabilities, other.probabilities)
        np.testing.assert_array_equal(one.evidence, other.evidence)


def night(n, hop_s=1.0, n_subjects=1):
    return [batch(k, MIXED_BAG[k % len(MIXED_BAG)] * n_subjects, hop_s=hop_s) for k in range(n)]


@pytest.mark.parametrize("hops", [1, 2])
def test_with_a_grammar_the_probabilities_are_those_of_filter_and_smoother(bundle, hops):
    n, staging = 30, StagingConfig(hop_s=1 / hops, final_lag=LAG)
    batches = night(n, 1 / hops)
    stager = Stager(engine(bundle, 1, hops), {"a": ["m1"]}, staging, GRAMMAR)
    estimates = [e for b in batches for e in stager.stage([b])]
    by_hand, spec = engine(bundle, 1, hops), bundle.spec
    readings = np.concatenate(
        [by_hand.step(b.epochs, np.array([0]), b.usable, unimodal=True) for b in batches]
    )
    usable = np.concatenate([b.usable for b in batches])
    pathways = spec.pathway_for(usable)

    def said(reading, hop, slot):
        found = readings[reading, pathways[hop], slot]
        return found if usable[hop].any() else np.full(3, np.nan, np.float32)

    live = np.array([said(k, k, -1) for k in range(n)])
    late = np.array(
        [
            [said(k + LAG * hops, k + j * hops, j - LAG - 1) for j in range(LAG + 1)]
            for k in range(n - LAG * hops)
        ]
    )
    of_rates, chains = Filter(GRAMMAR, spec.epoch_s), [slice(k, None, hops) for k in range(hops)]
    wanted = {"live": (np.empty_like(live), live)}
    for chain in chains:
        wanted["live"][0][chain] = of_rates.live_all(live[chain])
    final = of_rates.final_all(late[chains[0]]).astype(np.float32)
    wanted["final"] = final, late[chains[0], 0]
    for kind, (probabilities, evidence) in wanted.items():
        found = [e for e in estimates if e.kind == kind]
        assert len(found) == len(probabilities)
        for estimate, p, e in zip(found, probabilities, evidence, strict=True):
            if estimate.pathway is None:
                assert (estimate.probabilities, estimate.evidence) == (None, None)
                continue
            np.testing.assert_array_equal(estimate.probabilities, p)
            np.testing.assert_array_equal(estimate.evidence, e)
            assert estimate.stage == spec.stages[p.argmax()]
    assert all(np.abs(e.probabilities - e.evidence).max() > 0.01 for e in estimates if e.pathway)


@pytest.mark.parametrize("hops", [2, 5])
def test_hops_between_them_change_no_epoch(bundle, hops):
    def staged(hops, batches):
        staging = StagingConfig(hop_s=1 / hops, final_lag=LAG)
        stager = Stager(engine(bundle, 1, hops), {"a": ["m1"]}, staging, GRAMMAR)
        return [e for b in batches for e in stager.stage([b])] + stager.flush()

    finer = night(30 * hops, 1 / hops)
    coarse = [replace(each, hop=k) for k, each in enumerate(finer[::hops])]
    found = [
        msgspec.structs.replace(e, hop=e.hop // hops)
        for e in staged(hops, finer)
        if e.hop % hops == 0
    ]
    same(found, staged(1, coarse))


def kept(stager, batches):
    """Stage epoch by epoch; return the estimates, and what each epoch left for a restart."""
    estimates, left = [], []
    for each in batches:
        estimates += stager.stage([each])
        left.append(stager.newest("a"))
    return estimates, left


def due_of(estimates, hops):
    """Return the live estimates from the oldest one on that is to be read again, as a journal."""
    first = max((e.hop + hops for e in estimates if e.kind == "final"), default=0)
    return [e for e in estimates if e.kind == "live" and e.hop >= first]


@pytest.mark.parametrize("hops", [1, 2, 3])
@pytest.mark.parametrize("end", [1, 6, 25])
def test_a_warm_restart_goes_on_with_the_same_bits(bundle, hops, end):
    staging, subjects = StagingConfig(hop_s=1 / hops, final_lag=LAG), {"a": ["m1", "m2"]}
    batches = night(40, 1 / hops, n_subjects=2)
    whole = Stager(engine(bundle, 2, hops), subjects, staging, GRAMMAR)
    wanted = [e for b in batches for e in whole.stage([b])] + whole.flush()
    before, left = kept(Stager(engine(bundle, 2, hops), subjects, staging, GRAMMAR), batches[:end])
    after = Stager(engine(bundle, 2, hops), subjects, staging, GRAMMAR)
    slots = {end - k: left[k] for k in range(max(0, end - after.n_slots), end)}
    after.recall("a", slots, due_of(before, hops))
    same(before + [e for b in batches[end:] for e in after.stage([b])] + after.flush(), wanted)


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_the_last_words_of_a_stream_that_does_not_go_on_are_those_of_its_end(bundle, hops):
    staging, subjects = StagingConfig(hop_s=1 / hops, final_lag=LAG), {"a": ["m1", "m2"]}
    stager = Stager(engine(bundle, 2, hops), subjects, staging, GRAMMAR)
    before, left = kept(stager, night(20, 1 / hops, n_subjects=2))
    after = Stager(engine(bundle, 2, hops), subjects, staging, GRAMMAR)
    slots = {20 - k: left[k] for k in range(20)}
    same(after.last_words("a", slots, due_of(before, hops)), stager.flush())
    fresh = Stager(engine(bundle, 2, hops), subjects, staging, GRAMMAR)
    anew = night(10, 1 / hops, n_subjects=2)
    same(after.stage(anew) + after.flush(), fresh.stage(anew) + fresh.flush())
