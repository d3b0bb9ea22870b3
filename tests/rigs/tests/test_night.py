"""The rig that makes a night: what `make demo-night` and `make journal-size` rest on."""

from daemon.journal.reader import JournalReader
from tests.rigs.night import Plan, bytes_by_table, write_night
from tools.night.record import Selection, read_records


def test_a_night_of_simulated_mice_is_whole_and_has_its_troubles(tmp_path):
    path = tmp_path / "night.sqlite"
    write_night(path, Plan(mice=4, seconds=60, start=1.8e9, seed=1, calm=False))
    reader = JournalReader(path)
    records = {r.subject: r for r in read_records(reader, Selection(), [])}
    assert [len(r.epochs) for r in records.values()] == [60] * 4
    assert len(reader.sessions()) == 2
    lost = {r.subject: sum(e.stage == "UNKNOWN" for e in r.epochs) for r in records.values()}
    assert lost["m3"] > lost["m1"] >= 4
    assert sum(bytes_by_table(path).values()) == path.stat().st_size
    assert len(reader.latest("trigger.m2")) >= 56
