import uuid

import msgspec
import pylsl
import pytest

from daemon.config import StreamConfig, SubjectConfig
from daemon.lsl.outlet import StageOutlet
from tests.support.bundles import mouse_spec

SPEC = msgspec.structs.replace(mouse_spec(), epoch_s=2.5)


@pytest.fixture
def outlet():
    name = f"cage-{uuid.uuid4().hex}"
    subjects = tuple(SubjectConfig(name=n, channels={"eeg": "E1"}) for n in ("m1", "m2"))
    stream = StreamConfig(name=name, match={"type": "EEG"}, subjects=subjects)
    outlet = StageOutlet(stream, SPEC, "0123456789ab", "ba9876543210")
    outlet.name = f"hypnod.{name}"
    yield outlet
    outlet.close()


def test_a_recorder_sees_who_what_and_when(outlet):
    (found,) = pylsl.resolve_byprop("name", outlet.name, timeout=10)
    inlet = pylsl.StreamInlet(found)
    info = inlet.info(timeout=10)
    assert info.type() == "Hypnogram"
    assert info.nominal_srate() == pylsl.IRREGULAR_RATE
    assert info.get_channel_labels() == ["m1", "m2"]
    desc = info.desc()
    described = {k: desc.child_value(k) for k in ("kind", "stages", "epoch_s", "model")}
    assert described == {
        "kind": "live",
        "stages": "Wake NREM REM ART UNKNOWN",
        "epoch_s": "2.5",
        "model": "0123456789ab",
    }
    inlet.open_stream(timeout=10)
    outlet.push({"m1": "NREM", "m2": "Wake"}, 100.0)
    outlet.push({"m2": "REM"}, 102.5)
    samples = [inlet.pull_sample(timeout=10) for _ in range(2)]
    assert samples == [(["NREM", "Wake"], 100.0), (["UNKNOWN", "REM"], 102.5)]
    inlet.close_stream()
