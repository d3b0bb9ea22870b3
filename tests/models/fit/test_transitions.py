import msgspec
import numpy as np
import pytest

from models.fit import transitions
from models.fit.transitions import count
from models.grammar import TRANSITION_FILES, Transitions
from models.stages import MOUSE


def test_artefacts_and_the_ends_of_records_break_the_chain():
    scored = [("a", np.array([0, 0, -1, 1, 1, 2, 0])), ("a", np.array([1, 0]))]
    found = count(scored, MOUSE, 4.0, "somewhere")
    assert found.n_subjects == 1
    assert found.n_epochs == (1, 3, 1)
    assert found.n_transitions == ((0, 0, 0), (1, 0, 1), (1, 0, 0))
    assert found.rates == ((0, 0.25, 0.25), (0.1667, 0, 0.1667), (0.5, 0.25, 0))


@pytest.mark.parametrize(("species", "n_subjects"), [("mouse", 67), ("human", 137)])
def test_the_packaged_counts_are_those_of_the_dataset(
    shared_data, tmp_path, monkeypatch, species, n_subjects
):
    out = tmp_path / "counts.json"
    folder = shared_data / f"{species}_hypnograms"
    monkeypatch.setattr("sys.argv", ["transitions", species, str(folder), "--out", str(out)])
    transitions.main()
    assert out.read_bytes() == TRANSITION_FILES[species].read_bytes()
    assert msgspec.json.decode(out.read_bytes(), type=Transitions).n_subjects == n_subjects
