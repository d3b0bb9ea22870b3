"""Outlets that take one another's place in a played stream: as planned, and through LSL."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pylsl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.lsl.inlet import Inlet
from models.recordings.open import open_recording
from models.signal.chunk import Chunk, StreamDescription
from tests.rigs.lsl import stream_config, wait_until
from tests.tools.replay.test_faults import (
    CH_NAMES,
    DATA,
    FIRST,
    TIMES,
    UNITS,
    by_outlets,
    inject,
    joined,
    specs,
)
from tests.tools.replay.test_replay import SFREQ, replaying, summary, write_edf
from tools.replay.fault_plan import OUTLETS, parse_fault
from tools.replay.outlets import BOOTED_S, CHANGES


@given(plan=st.lists(specs, max_size=5))
def test_what_is_sent_fits_the_outlets_that_are_open(plan: list[str]) -> None:
    for outlets, parts in by_outlets(inject(*plan, sizes=(700,))):
        assert all(len(part.stamps) for part in parts)
        assert len({outlet.source_id for outlet in outlets}) == len(outlets) <= 2
        assert len({replace(outlet, source_id="") for outlet in outlets}) == bool(outlets)
        assert all(part.data.shape[1:] == (len(outlets[0].channels),) for part in parts)


@given(
    kinds=st.lists(st.sampled_from([k for k in OUTLETS if k != "reboot"]), min_size=1, max_size=8),
    seed=st.integers(0, 9),
)
def test_outlets_replace_one_another_in_turn(kinds: list[str], seed: int) -> None:
    """Each is like the one before but for its own change, and is there after each outage."""
    every = 20.0 / (len(kinds) + 1)
    specs = [f"{kind}@{every * (i + 0.5)}+{every / 2}" for i, kind in enumerate(kinds)]
    told = [outlets for outlets, _ in by_outlets(inject(*specs, sizes=(97,), seed=seed))]
    expected, outlet = [(FIRST,)], FIRST
    for spec in specs:
        fault = parse_fault(spec)
        if fault.kind == "twin":
            twin = replace(outlet, source_id=f"{outlet.source_id}-twin")
            expected += [(outlet, twin), (outlet,)]
        else:
            outlet = CHANGES[fault.kind](outlet, fault)
            expected += [(), (outlet,)]
    assert told == expected


@pytest.mark.parametrize("sfreq", [50.0, 73.0, 100.0, 512.0])
def test_another_rate_has_a_sample_at_each_of_its_times(sfreq: float) -> None:
    (_, before), _, ((outlet,), after) = by_outlets(inject(f"new-rate={sfreq}@5+2", sizes=(37,)))
    data, stamps = joined([*after])
    assert outlet == replace(FIRST, sfreq=sfreq)
    np.testing.assert_array_equal(joined([*before])[0], DATA[:500])
    np.testing.assert_allclose(stamps, np.arange(7 * sfreq, 20 * sfreq) / sfreq, atol=1e-9)
    np.testing.assert_array_equal(data, DATA[np.floor(stamps * 100 + 1e-6).astype(int)])


def test_channels_in_another_order_and_one_more() -> None:
    plan = ["new-order@5+1", "more-channels@10+1", "flat@15+9:EEG"]
    *_, (_, three), _, ((outlet,), four) = by_outlets(inject(*plan))
    assert [tuple(channel[:2]) for channel in outlet.channels] == [
        ("extra", "microvolts"),
        *zip(CH_NAMES[::-1], UNITS[::-1], strict=True),
    ]
    np.testing.assert_array_equal(joined([*three])[0], DATA[600:1000, ::-1])
    data = joined([*four])[0]
    np.testing.assert_array_equal(data[:, 1:3], DATA[1100:, :0:-1])
    np.testing.assert_array_equal(data[:, 3], np.where(TIMES < 15, DATA[:, 0], 0)[1100:])
    assert data[:, 0].std() == pytest.approx(20.0, rel=0.1)


def test_after_a_reboot_the_clock_has_begun_anew() -> None:
    *_, ((outlet,), parts) = by_outlets(inject("reboot@5+2", "drop@15+1"))
    assert outlet == replace(FIRST, booted=7.0 - BOOTED_S)
    np.testing.assert_array_equal(joined([*parts])[1], TIMES[1600:])
    assert outlet.zero(123456.0) + 7.0 == BOOTED_S
    assert FIRST.zero(123456.0) == 123456.0


def test_a_stream_that_comes_back_changed_says_so_and_is_what_it_says(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "night.edf", seconds=20)
    plan = ("no-id@4+1", "new-rate=400@8+1", "new-order@12+1", "more-channels@16+0", "reboot@17+1")
    expected = [
        ("hypnod-replay-night", 200.0, ("EEG front", "EMG"), 1000 + np.arange(0, 4, 1 / 200)),
        ("", 200.0, ("EEG front", "EMG"), 1000 + np.arange(5, 8, 1 / 200)),
        ("", 400.0, ("EEG front", "EMG"), 1000 + np.arange(9, 12, 1 / 400)),
        ("", 400.0, ("EMG", "EEG front"), 1000 + np.arange(13, 16, 1 / 400)),
        ("", 400.0, ("extra", "EMG", "EEG front"), 1000 + np.arange(16, 17, 1 / 400)),
        ("", 400.0, ("extra", "EMG", "EEG front"), BOOTED_S + np.arange(0, 2, 1 / 400)),
    ]
    came: dict[int, tuple[str, StreamDescription, list[Chunk]]] = {}
    arguments = ["--speed", "max", "--t0", "1000", "--json", *(f"--fault={spec}" for spec in plan)]
    with (
        closing(Inlet(stream_config("night"))) as inlet,
        replaying(path, *arguments) as process,
    ):

        def ended() -> bool:
            chunk = inlet.poll()
            if chunk is not None:
                assert inlet.description is not None
                source_id = inlet._source.info.source_id()
                new = (source_id, inlet.description, [])
                came.setdefault(inlet.connection, new)[2].append(chunk)
            return process.poll() is not None

        wait_until(ended, "the end")
        summary(process)
    assert list(came) == [1, 2, 3, 4, 5, 6]
    eeg = open_recording(path).read(0, 4000)[:, 0]
    for (source_id, sfreq, ch_names, stamps), (found_id, description, chunks) in zip(
        expected, came.values(), strict=True
    ):
        assert (found_id, description.sfreq, description.ch_names) == (source_id, sfreq, ch_names)
        found = np.concatenate([chunk.timestamps for chunk in chunks])
        np.testing.assert_allclose(found, stamps, rtol=0, atol=1e-9)
        since = stamps - stamps[0] + (18 if stamps[0] == BOOTED_S else stamps[0] - 1000)
        data = np.concatenate([chunk.data for chunk in chunks])
        rows = np.floor(since * SFREQ + 1e-6).astype(int)
        np.testing.assert_array_equal(data[:, ch_names.index("EEG front")], eeg[rows])


def test_a_twin_is_a_second_stream_of_the_name_that_sends_the_same(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "night.edf", seconds=4)
    arguments = ["--no-wait", "--loop", "--no-markers", "--fault", "twin@0.5+1000000"]
    with replaying(path, *arguments, "--t0", 1000):
        visible: list[pylsl.StreamInfo] = []

        def both() -> bool:
            visible[:] = pylsl.resolve_byprop("name", "night", 2, 1)
            return len(visible) == 2

        wait_until(both, "two streams")
        assert {info.source_id() for info in visible} == {
            *("hypnod-replay-night", "hypnod-replay-night-twin")
        }
        inlets = [pylsl.StreamInlet(info, recover=False) for info in visible]
        samples: list[dict[float, tuple[float, ...]]] = [{}, {}]

        def overlap() -> bool:
            for inlet, found in zip(inlets, samples, strict=True):
                data, stamps = inlet.pull_chunk()
                found.update(zip(stamps, map(tuple, data), strict=True))
            return len(samples[0].keys() & samples[1].keys()) > 100

        wait_until(overlap, "samples of the same times")
        assert all(samples[1].get(time, row) == row for time, row in samples[0].items())
