import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from models.recordings.agreement import compare
from models.stages import ART, HUMAN, MOUSE, UNKNOWN, from_indices

HYPNOGRAM = st.lists(
    st.tuples(st.sampled_from((*MOUSE, ART, UNKNOWN)), st.sampled_from((*MOUSE, ART, UNKNOWN))),
    max_size=50,
)


@given(HYPNOGRAM)
def test_every_figure_is_that_of_scikit_learn_and_no_epoch_is_hidden(pairs):
    truth, found = [t for t, _ in pairs], [f for _, f in pairs]
    agreement = compare(truth, found, MOUSE)
    scored = [(t, f) for t, f in pairs if t in MOUSE and f in MOUSE]
    assert agreement.n_epochs == len(scored)
    assert agreement.n_epochs + agreement.n_unscored == len(pairs)
    if not scored:
        assert (agreement.accuracy, agreement.kappa) == (None, None)
        return
    t, f = zip(*scored, strict=True)
    assert agreement.accuracy == pytest.approx(metrics.accuracy_score(t, f))
    matrix = metrics.confusion_matrix(t, f, labels=MOUSE)
    assert np.array_equal(agreement.confusion, matrix)
    assert agreement.macro_f1 == pytest.approx(metrics.f1_score(t, f, average="macro"))
    if len({*t, *f}) > 1:
        assert agreement.kappa == pytest.approx(metrics.cohen_kappa_score(t, f, labels=MOUSE))
    else:
        assert agreement.kappa is None
    for stage in {*t, *f}:
        expected = metrics.f1_score(t, f, labels=[stage], average="micro")
        assert agreement.f1[stage] == pytest.approx(expected)
    for stage in {*f}:
        expected = metrics.precision_score(t, f, labels=[stage], average="micro")
        assert agreement.precision[stage] == pytest.approx(expected)


def test_hypnograms_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="expected as many stages as in truth, 1, found 2"):
        compare(["Wake"], ["Wake", "REM"], MOUSE)
    with pytest.raises(ValueError, match="found N2"):
        compare(["N2"], ["Wake"], MOUSE)


def test_two_experts_of_real_nights_agree_as_scikit_learn_says(shared_data):
    with np.load(shared_data / "human_hypnograms" / "dodh_scorers.npz") as nights:
        recordings = {name.partition("__")[0] for name in nights.files}
        pairs = [(nights[f"{r}__scorer_1"], nights[f"{r}__scorer_2"]) for r in sorted(recordings)]
    one, other = (np.concatenate(side) for side in zip(*pairs, strict=True))
    agreement = compare(from_indices(one, HUMAN), from_indices(other, HUMAN), HUMAN)
    scored = (one >= 0) & (other >= 0)
    one, other = one[scored], other[scored]
    assert agreement.n_epochs == len(one)
    assert agreement.kappa == pytest.approx(metrics.cohen_kappa_score(one, other))
    assert agreement.macro_f1 == pytest.approx(metrics.f1_score(one, other, average="macro"))
    assert 0.6 < agreement.kappa < 0.9  # as people do
