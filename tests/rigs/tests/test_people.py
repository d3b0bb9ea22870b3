"""What the bundle of people learns from, and what it is measured on."""

import csv

import msgspec
import numpy as np
import pytest

from engines.bundle import open_bundle
from models.recordings.agreement import compare
from models.recordings.lab import open_lab, read_subjects
from models.simulator.noise import pink_noise
from models.stages import HUMAN
from tests.rigs.accuracy import people
from tests.rigs.accuracy.people import (
    SCORERS,
    WHOLE_NIGHT,
    Pieces,
    look_at_people,
    read_scorers,
    read_sleep_edf,
    read_ucddb,
)
from tests.rigs.accuracy.silver_people import write_staged
from tests.support.bundles import human_spec, make_bundle_of


def test_what_was_staged_is_read_back_as_a_lab_s_recording(tmp_path):
    rng = np.random.default_rng(0)
    data = np.stack([20 * pink_noise(rng, 100 * 90) for _ in range(2)], axis=1).astype(np.float32)
    labels, stages = ("EEG C3-M2", "EOG E1-M2"), ["W", "N2", "REM"]
    write_staged(tmp_path / "p0001" / "both.edf", data, labels, 100.0, stages)
    write_staged(tmp_path / "p0001" / "eeg.edf", data[:, :1], labels, 100.0, stages[::-1])
    labs, _ = open_lab([tmp_path], human_spec(epoch_s=30.0))
    both, eeg = read_subjects(labs, human_spec(epoch_s=30.0))
    assert (both.name, eeg.name) == ("p0001", "p0001")
    assert [HUMAN[k] for k in both.stages] == stages
    assert [HUMAN[k] for k in eeg.stages] == stages[::-1]
    assert both.usable.all()
    assert not eeg.usable[:, 1].any()


def test_every_real_epoch_has_its_place_and_the_others_stages(shared_data):
    people = read_ucddb()
    assert len(people) == 12
    assert sum(len(each.stages) for each in people) == 1812
    with SCORERS.open(encoding="utf-8", newline="") as file:
        scored = {(row["subject"], int(row["epoch"])) for row in csv.DictReader(file)}
    for each in people:
        assert (np.diff(each.place) > 0).all()
        assert {(each.subject, int(k)) for k in each.place} <= scored
        assert np.median(np.abs(each.data)) == pytest.approx(12.0, rel=0.01)


def test_yasa_is_as_right_of_the_whole_night_as_was_found_elsewhere(shared_data):
    (night,) = (each for each in read_ucddb() if each.subject == WHOLE_NIGHT)
    said = read_scorers()["yasa"]
    found = compare(night.stages, [said[WHOLE_NIGHT, int(k)] for k in night.place], HUMAN)
    assert len(night.stages) == 822
    assert found.kappa == pytest.approx(0.81, abs=0.01)


@pytest.mark.timeout(300)  # an export where none is kept
def test_a_bundle_is_held_against_all_of_them(shared_data, tmp_path, monkeypatch):
    """A net that knows nothing stages every epoch and agrees with nobody.

    The first epochs of two of the eleven and of the night stand for them, so does one recorder.
    """
    few = [first(each) for each in read_ucddb() if each.subject in FIRST]
    monkeypatch.setattr(people, "read_ucddb", lambda: few)
    monkeypatch.setattr(people, "read_sleep_edf", lambda: read_sleep_edf()[:1])
    monkeypatch.setattr(people, "RECORDERS", {"at 50 Hz": people.RECORDERS["at 50 Hz"]})
    bundle = open_bundle(make_bundle_of(human_spec(epoch_s=30.0), tmp_path))
    found = look_at_people(bundle)
    night, eleven, edf, *changed = found.rows
    n = FIRST[WHOLE_NIGHT]
    assert [each.n_epochs for each in changed] == [n] * 3
    assert (night.n_epochs, eleven.n_epochs, edf.n_epochs) == (n, 2 * 30, 5)
    assert abs(night.kappa["hypnod live"]) < 0.2
    assert 0 <= found.ece <= 1
    for each in found.sure.values():
        assert [k for k, _ in each] == sorted((k for k, _ in each), reverse=True)
        assert all(0 <= right <= k <= n for k, right in each)


FIRST = {"003": 30, "006": 30, WHOLE_NIGHT: 150}
"""So many epochs of whom."""


def first(pieces: Pieces) -> Pieces:
    n = FIRST[pieces.subject]
    return msgspec.structs.replace(
        pieces, data=pieces.data[:n], place=pieces.place[:n], stages=pieces.stages[:n]
    )
