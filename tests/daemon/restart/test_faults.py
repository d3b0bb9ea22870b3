"""A source goes and comes back as it was, or not; real outlets in processes of their own.

Epoch k is always origin + k, and holds the samples of that time or none.
"""

from contextlib import closing

import pylsl
import pytest

from daemon.config import StagingConfig
from tests.rigs.lsl import Source
from tests.rigs.stream import MISSING, OK, SFREQ, Rig, within_other_host, within_rebooted_machine

PATIENT = StagingConfig(stall_s=60.0)
"""What lies between two samples is missing then however long a restart takes here."""


@pytest.fixture
def patient(name, source):
    with Rig(name, PATIENT) as rig:
        rig.until_connected()
        yield rig


def restart_in_an_epoch(rig, source, **changes):
    """Push 4.3 s, restart the source, push 7.6 s to 12 s of what it then sends."""
    rig.push(source, 0, 4.3)
    rig.until_epoch(3)
    channels = changes.pop("channels", (0, 1))
    source.restart(**changes)
    rig.until_connected(2)
    rig.push(source, 7.6, 12.1, channels=channels)
    rig.until_epoch(11)
    rig.check_grid()
    assert rig.reasons() == rig.reasons(1) == [OK] * 4 + [MISSING] * 4 + [OK] * 4
    assert rig.count("hypnod_reconnects_total") == 1
    spec = source.spec
    told = f"{spec['sfreq']:g} Hz and {spec['n_channels']} channels"
    assert [m.reason for m in rig.said if "reconnected" in m.reason and told in m.reason]


@pytest.mark.parametrize("source_id", ["amplifier-1", ""])
def test_a_restart_with_the_same_source_id_or_none(name, source_id):
    with Source(name, sfreq=SFREQ, source_id=source_id) as source, Rig(name, PATIENT) as rig:
        rig.until_connected()
        restart_in_an_epoch(rig, source)


@pytest.mark.parametrize("sfreq", [256.0, 1000.0])
def test_a_restart_at_another_rate(patient, source, sfreq):
    restart_in_an_epoch(patient, source, sfreq=sfreq)
    assert patient.stream._pipeline.description.sfreq == sfreq


def test_a_restart_with_the_channels_in_another_order(patient, source):
    restart_in_an_epoch(patient, source, labels=["EMG", "EEG"], channels=(1, 0))


def test_a_restart_with_more_channels(patient, source):
    changes = {"n_channels": 3, "labels": ["X", "EEG", "EMG"]}
    restart_in_an_epoch(patient, source, **changes, channels=(1, 0, 1))


def test_a_restart_in_another_unit(patient, source):
    """The values stay what they were, so they are a thousand times too large: no signal is."""
    patient.push(source, 0, 4)
    patient.until_epoch(3)
    source.restart(units="millivolts")
    patient.until_connected(2)
    patient.push(source, 5, 8)
    patient.until_epoch(7)
    assert patient.reasons() == [OK] * 4 + [MISSING] + ["out_of_range"] * 3


def test_levels_survive_a_change_of_rate(patient, source):
    """The first epoch after it is as large as those before: the level was not learnt anew."""
    restart_in_an_epoch(patient, source, sfreq=1000.0)
    before, after = (patient.stream._pipeline._conditioner.state()[k] for k in ("level", "seen_s"))
    assert (after == 8.0).all()
    assert (before != 0).all()


def test_a_restart_without_a_needed_channel_stalls_until_it_is_there(name, rig, source):
    rig.push(source, 0, 4)
    rig.until_epoch(3)
    source.restart(labels=["EEG", "ECG"])
    why = f"stream {name!r}: expected a channel 'EMG', found EEG, ECG"
    rig.until_state("STALLED", f"nothing is staged until a source fits: {why}")
    rig.until_epoch(5)  # given up, as time passes
    source.restart(labels=["EEG", "EMG"])
    rig.until_state("FILLING")
    n = len(rig.batches)
    rig.push(source, n + 3, n + 6)
    rig.until_epoch(n + 5)
    rig.check_grid()
    assert rig.reasons() == [OK] * 4 + [MISSING] * (n - 1) + [OK] * 3


def test_a_restart_unlike_the_config_stalls_until_it_fits(name, source):
    with Rig(name, sfreq=SFREQ) as rig:
        rig.until_connected()
        rig.push(source, 0, 3)
        rig.until_epoch(2)
        source.restart(sfreq=256.0)
        rig.until_state("STALLED", "expected 512 Hz, found 256 Hz")
        source.restart(sfreq=SFREQ)
        rig.until_state("FILLING")
        n = len(rig.batches)
        rig.push(source, n + 3, n + 5)
        rig.until_epoch(n + 4)
        rig.check_grid()


def test_a_replacement_on_another_host(name, rig, source):
    rig.push(source, 0, 4.3)
    rig.until_epoch(3)
    source.kill()
    with Source(name, sfreq=SFREQ, within=within_other_host()) as other:
        rig.until_connected(2)
        assert rig.stream._inlet._source.info.hostname() == "otherhost"
        rig.push(other, 7.6, 12.1)
        rig.until_epoch(11)
    rig.check_grid()
    assert rig.reasons() == [OK] * 4 + [MISSING] * 4 + [OK] * 4


def test_the_acquisition_computer_reboots(name, rig, source):
    """Its clock begins anew; the outage is as long as it was on this machine's clock."""
    rig.push(source, 0, 4)
    rig.until_epoch(3)
    source.kill()
    with Source(name, sfreq=SFREQ, within=within_rebooted_machine()) as other:
        rig.until_connected(2)
        offset = round(pylsl.local_clock() - other.clock())  # whole seconds; asking takes time
        assert offset > 100
        rig.until_epoch(5)  # given up, as time passes
        began, rig.origin = rig.origin, rig.origin - offset
        n = len(rig.batches)
        rig.push(other, n + 2, n + 6)
        rig.origin = began
        rig.until_epoch(n + 4)
    rig.check_grid()
    assert rig.reasons()[: n + 2] == [OK] * 4 + [MISSING] * (n - 2)
    assert rig.reasons()[n + 3 :][:2] == [OK] * 2


def test_a_second_stream_of_the_name_does_not_disturb_the_first(name, rig, source):
    rig.push(source, 0, 3)
    with Source(name, sfreq=SFREQ) as second:
        second.push(1000)
        rig.push(source, 3, 6)
        rig.until_epoch(5)
    rig.check_grid()
    assert rig.reasons() == [OK] * 6


def test_two_streams_of_the_name_are_not_chosen_from(name, rig, source):
    rig.push(source, 0, 4)
    rig.until_epoch(3)
    source.kill()
    with closing(Source(name, sfreq=SFREQ)) as second, Source(name, sfreq=SFREQ) as third:
        rig.until_state("STALLED", "expected exactly one visible stream")
        for one in (second, third):
            assert one.uid in rig.said[-1].reason
        assert rig.count("hypnod_reconnects_total") == 0
        second.kill()
        rig.until_state("FILLING")
        n = len(rig.batches)
        rig.push(third, n + 3, n + 6)
        rig.until_epoch(n + 5)
    rig.check_grid()
    assert set(rig.reasons()[4 : n + 3]) == {MISSING}
    assert rig.reasons()[n + 3 :] == [OK] * 3
