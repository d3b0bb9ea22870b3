import msgspec
import numpy as np

from models.fit import transitions
from models.fit.hypnograms.scored_mice import MouseRecord
from models.fit.transitions import count
from models.grammar import MOUSE_FILE, Transitions


def test_artefacts_and_the_ends_of_records_break_the_chain():
    records = [
        MouseRecord("a", "lab", np.array([1, 1, 4, 2, 2, 3, 1], np.uint8)),
        MouseRecord("a", "lab", np.array([2, 1], np.uint8)),
    ]
    found = count(records)
    assert found.n_mice == 1
    assert found.n_epochs == (1, 3, 1)
    assert found.n_transitions == ((0, 0, 0), (1, 0, 1), (1, 0, 0))
    assert found.rates == ((0, 0.25, 0.25), (0.1667, 0, 0.1667), (0.5, 0.25, 0))


def test_the_packaged_counts_are_those_of_the_dataset(shared_data, tmp_path, monkeypatch):
    out = tmp_path / "counts.json"
    folder = shared_data / "mouse_hypnograms"
    monkeypatch.setattr("sys.argv", ["transitions", str(folder), "--out", str(out)])
    transitions.main()
    assert out.read_bytes() == MOUSE_FILE.read_bytes()
    assert msgspec.json.decode(out.read_bytes(), type=Transitions).n_mice == 67
