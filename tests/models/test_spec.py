import msgspec
import numpy as np
import pytest

from models.errors import SpecError
from models.relative_spec import RelativeSpec
from models.spec import Band, BundleManifest, Grammar, ModelSpec
from tests.support.bundles import human_spec, mouse_grammar, mouse_spec
from tests.support.signals import LEVELS, SPEC


@pytest.mark.parametrize("spec", [SPEC, LEVELS], ids=["samples", "levels"])
def test_a_spec_survives_json(spec):
    assert msgspec.json.decode(msgspec.json.encode(spec), type=ModelSpec) == spec


def test_derived_numbers():
    assert (SPEC.n_times, SPEC.n_modalities) == (512, 2)
    assert [SPEC.ring_length(hops) for hops in (1, 2)] == [SPEC.n_context, 2 * SPEC.n_context - 1]
    assert msgspec.structs.replace(SPEC, n_context=20).context_s == 20.0


THREE = msgspec.structs.replace(
    SPEC,
    modalities=("eeg", "eog", "emg"),
    pathways=("mixed", "emg", "eeg"),
    bands=SPEC.bands[:1] * 3,
    token_shape=(7,),
)
ONE = msgspec.structs.replace(SPEC, pathways=("mixed",))
VALID = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]], bool)


def test_the_pathway_is_a_modality_s_own_where_it_is_alone_and_has_one():
    assert THREE.pathway_for(VALID).tolist() == [0, 0, 2, 0, 1, 0]
    assert THREE.pathway_for(VALID.reshape(2, 3, 3)).tolist() == [[0, 0, 2], [0, 1, 0]]
    assert SPEC.pathway_for(VALID[:, ::2]).tolist() == [0, 1, 1, 0, 2, 0]
    assert not ONE.pathway_for(VALID[:, ::2]).any()
    assert THREE.pathway_for(VALID[0]) == 0


def test_a_pathway_reads_what_it_has():
    assert THREE.readable(VALID[:3]).tolist() == [[1, 1, 1], [1, 0, 1], [1, 0, 1]]
    assert THREE.readable(VALID[3:]).tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert ONE.readable(VALID[:, 1:]).tolist() == [[1], [1], [0], [1], [1], [0]]


def test_a_token_counts_where_its_modality_or_any_is_valid():
    assert SPEC.token_valid(VALID[:, ::2]).shape == (6, 2, 1)
    assert SPEC.token_valid(VALID[2, ::2]).tolist() == [[True], [False]]
    assert THREE.token_valid(VALID).tolist() == [[True]] * 5 + [[False]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stages": ("Awake", "Asleep")}, "stages: expected Wake/NREM/REM or .*found Awake"),
        ({"bands": (Band(1.0, 2.0),)}, "bands: expected one for each of 2 modalities, found 1"),
        ({"species": "mole"}, "species: expected some of mouse, human, found mole"),
        (
            {"modalities": ("eeg", "ecg")},
            "modalities: expected some of eeg, emg, eog, found eeg, e",
        ),
        ({"modalities": ()}, "modalities: expected some of eeg, emg, eog, found none"),
        ({"pathways": ("mixed", "eog")}, "pathways: expected some of mixed, eeg, emg, found mixed"),
        ({"pathways": ("mixed", "eeg", "eeg")}, "pathways: expected some of"),
        ({"pathways": ("eeg", "mixed")}, "pathways: expected mixed first, found eeg"),
        ({"token_shape": (3, 128)}, r"token_shape: expected \(2, D\) or \(D,\), found \(3, 128\)"),
        ({"token_shape": ()}, r"token_shape: expected \(2, D\)"),
        ({"token_shape": (2, 0)}, r"token_shape: expected \(2, D\)"),
        ({"n_context": 0}, "n_context: expected more than 0, found 0"),
        ({"sfreq": 511.96}, "whole number of samples"),
    ],
)
def test_contradictions_are_refused(change, message):
    with pytest.raises(SpecError, match=message):
        msgspec.structs.replace(SPEC, **change)


RELATIVE = RelativeSpec(
    source="x",
    edges_hz=((1.0, 4.0, 8.0), ()),
    mean=((0.0,) * 3, (0.0,) * 2),
    sd=((1.0,) * 3, (1.0,) * 2),
)
NAN = float("nan")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edges_hz": ((1.0,), ())}, "relative.edges_hz: expected at least two, rising, or none"),
        ({"edges_hz": ((1.0, 1.0, 8.0), ())}, "edges_hz: expected at least two, rising, or none"),
        ({"edges_hz": ((1.0, NAN, 8.0), ())}, "edges_hz: expected at least two, rising, or none"),
        ({"mean": ((0.0,) * 3,)}, r"mean: expected \(3, 2\) features by modality, found \(3,\)"),
        ({"sd": ((1.0,) * 3, ())}, r"sd: expected \(3, 2\) features by modality, found \(3, 0\)"),
        ({"mean": ((0.0, NAN, 0.0), (0.0,) * 2)}, "finite means and SDs of more than 0"),
        ({"sd": ((1.0,) * 3, (1.0, NAN))}, "finite means and SDs of more than 0"),
        ({"sd": ((1.0,) * 3, (1.0, 0.0))}, "finite means and SDs of more than 0"),
        ({"n_parts": 0}, "relative.n_parts: expected at least 1, found 0"),
        ({"prior_s": 0.0}, "relative.prior_s: expected more than 0, at most 14400 s, found 0"),
        ({"memory_s": 9.0}, "relative.prior_s: expected more than 0, at most 9 s, found 10"),
    ],
)
def test_levels_that_cannot_be_are_refused(change, message):
    with pytest.raises(SpecError, match=message):
        msgspec.structs.replace(RELATIVE, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edges_hz": (), "mean": (), "sd": ()}, "relative: expected 2 modalities, found 0"),
        (
            {"edges_hz": ((1.0, 4.0, 257.0), ())},
            "relative.edges_hz: expected 0 to 256 Hz, at least 1 Hz apart, found 1, 4, 257",
        ),
        ({"edges_hz": ((-1.0, 4.0, 8.0), ())}, "expected 0 to 256 Hz, .* found -1, 4, 8"),
        ({"edges_hz": ((1.0, 1.5, 8.0), ())}, "at least 1 Hz apart, found 1, 1.5, 8"),
        ({"n_parts": 3}, "relative.n_parts: expected a divisor of 512 samples, found 3"),
        ({"n_parts": 4, "edges_hz": ((1.0, 4.0, 7.0), ())}, "at least 4 Hz apart, found 1, 4, 7"),
        (
            {"prior_s": 0.1, "memory_s": 0.5},
            "relative.memory_s: expected at least an epoch, 1 s, found 0.5",
        ),
    ],
)
def test_levels_are_those_of_the_spec_s_signals(change, message):
    msgspec.structs.replace(SPEC, relative=RELATIVE)
    relative = msgspec.structs.replace(RELATIVE, **change)
    with pytest.raises(SpecError, match=message):
        msgspec.structs.replace(SPEC, relative=relative)


def test_an_estimate_looks_back_over_the_window_or_the_longest_running_mean():
    assert SPEC.looks_back_s == SPEC.context_s
    assert LEVELS.relative.recent_s[-1] > LEVELS.context_s
    assert LEVELS.looks_back_s == LEVELS.relative.recent_s[-1]


def test_a_net_is_given_samples_or_levels():
    assert (SPEC.n_inputs, LEVELS.n_inputs, LEVELS.n_times) == (512, 152, 512)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rates": ((0.0, 0.1), (0.1,))}, "rates: expected shape"),
        ({"rates": ((0.0, 0.1, 0.1),) * 2}, "rates: expected finite numbers of shape"),
        ({"rates": ((0.0, float("nan")), (0.1, 0.0))}, "rates: expected finite numbers"),
        ({"rates": ((-0.1, 0.1), (0.1, 0.0))}, "0 on the diagonal and none below 0"),
        ({"rates": ((0.0, -0.1), (0.1, 0.0))}, "0 on the diagonal and none below 0"),
        ({"rates": ((0.0, 0.1), (0.0, 0.0))}, "a way from each stage to each other"),
        ({"rates": ((0.0, 3.0), (0.1, 0.0))}, "from 1 to 1e.06 s on average"),
        ({"rates": ((0.0, 1e-9), (0.1, 0.0))}, "from 1 to 1e.06 s on average"),
        ({"beta_live": 0.0}, "beta_live: expected above 0 and at most 10, found 0.0"),
        ({"beta_final": float("nan")}, "beta_final: expected above 0"),
    ],
)
def test_a_grammar_that_cannot_be_is_refused(change, message):
    fields = {"source": "x", "rates": ((0.0, 0.1), (0.2, 0.0)), "beta_live": 1.0, "beta_final": 1.0}
    Grammar(**fields)
    with pytest.raises(SpecError, match=message):
        Grammar(**(fields | change))


def test_a_grammar_is_of_the_stages_of_its_spec():
    grammar = mouse_grammar()
    manifest = BundleManifest(format=2, name="x", spec=SPEC, files={}, grammar=grammar)
    assert msgspec.json.decode(msgspec.json.encode(manifest), type=BundleManifest) == manifest
    two = msgspec.structs.replace(grammar, rates=((0.0, 0.1), (0.2, 0.0)))
    with pytest.raises(SpecError, match=r"grammar.rates: expected 3 stages, found 2"):
        msgspec.structs.replace(manifest, grammar=two)


def test_people_are_staged_more_often_than_once_an_epoch() -> None:
    assert mouse_spec().live_hop_s == mouse_spec().epoch_s == 1.0
    assert human_spec(epoch_s=30.0).live_hop_s == 5.0
    assert human_spec(epoch_s=4.0).live_hop_s == 4.0
