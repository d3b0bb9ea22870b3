import math
import uuid

import msgspec
import numpy as np
import pylsl
import pytest

from daemon.config import StreamConfig, SubjectConfig
from daemon.lsl.outlet import StageOutlet
from daemon.outbox import Round
from tests.rigs.lsl import wait_until
from tests.support.bundles import mouse_spec
from tests.support.nights import stage

SPEC = msgspec.structs.replace(mouse_spec(), epoch_s=2.5)
COLUMNS = [f"{subject}.{stage}" for subject in ("m1", "m2") for stage in ("Wake", "NREM", "REM")]
ROUND = Round(
    [
        *(stage(0, "m1", stream="other"), stage(0, "m1", kind="final", stage="REM")),
        *(stage(0, "m1"), stage(0, "m2", stage="Wake")),
        *(stage(1, "m1", stage="ART"), stage(1, "m2", stage="REM")),
        stage(2, "m2", stage="UNKNOWN"),
    ],
    clock_offsets={"cage": 50.0, "other": 0.0},
)
ROWS = [
    [0.1, 0.8, 0.1, 0.8, 0.1, 0.1],
    [math.nan, math.nan, math.nan, 0.1, 0.1, 0.8],
    [math.nan] * 6,
]
"""What numbers are made of the round, a row an epoch."""


@pytest.fixture
def outlet():
    """Of the stream `cage`, as messages name it, under a name of its own in LSL."""
    name = f"cage-{uuid.uuid4().hex}"
    subjects = tuple(SubjectConfig(name=n, channels={"eeg": "E1"}) for n in ("m1", "m2"))
    stream = StreamConfig(name=name, match={"type": "EEG"}, subjects=subjects)
    outlet = StageOutlet(stream, SPEC, "0123456789ab", "ba9876543210")
    outlet._stream = "cage"
    outlet.name = f"hypnod.{name}"
    yield outlet
    outlet.close()


def connect(name):
    (found,) = pylsl.resolve_byprop("name", name, timeout=10)
    inlet = pylsl.StreamInlet(found)
    inlet.open_stream(timeout=10)
    return inlet, inlet.info(timeout=10)


@pytest.mark.parametrize(
    ("suffix", "content", "labels"),
    [("", "Hypnogram", ["m1", "m2"]), (".prob", "Hypnodensity", COLUMNS)],
)
def test_a_recorder_sees_who_and_what(outlet, suffix, content, labels):
    inlet, info = connect(outlet.name + suffix)
    assert info.type() == content
    assert info.nominal_srate() == pylsl.IRREGULAR_RATE
    assert info.get_channel_labels() == labels
    desc = info.desc()
    described = {k: desc.child_value(k) for k in ("kind", "stages", "epoch_s", "model")}
    assert described == {
        "kind": "live",
        "stages": "Wake NREM REM ART UNKNOWN",
        "epoch_s": "2.5",
        "model": "0123456789ab",
    }
    inlet.close_stream()


def test_words_and_numbers_come_at_the_onset_by_this_machines_clock(outlet):
    words, _ = connect(outlet.name)
    numbers, info = connect(f"{outlet.name}.prob")
    assert info.channel_format() == pylsl.cf_float32
    outlet.take(ROUND)
    assert [words.pull_sample(timeout=10) for _ in ROWS] == [
        (["NREM", "Wake"], 1050.0),
        (["ART", "REM"], 1051.0),
        (["UNKNOWN", "UNKNOWN"], 1052.0),
    ]
    rows, times = zip(*(numbers.pull_sample(timeout=10) for _ in ROWS), strict=True)
    assert times == (1050.0, 1051.0, 1052.0)
    np.testing.assert_allclose(rows, ROWS, atol=1e-7)
    for inlet in (words, numbers):
        inlet.close_stream()


def test_mne_lsl_reads_the_numbers(outlet):
    reason = "needs mne-lsl, which reads LSL for MNE"
    mne_lsl = pytest.importorskip("mne_lsl.stream", reason=reason)
    stream = mne_lsl.StreamLSL(bufsize=10, name=f"{outlet.name}.prob").connect()
    assert stream.ch_names == COLUMNS
    outlet.take(ROUND)
    wait_until(lambda: stream.n_new_samples >= len(ROWS), "the samples")
    data, times = stream.get_data()
    stream.disconnect()
    assert times[-3:].tolist() == [1050.0, 1051.0, 1052.0]
    np.testing.assert_allclose(data.T[-3:], ROWS, atol=1e-7)
