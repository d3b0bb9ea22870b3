"""Faults in a played stream: as pure functions, and through LSL."""

from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from daemon.lsl.inlet import Inlet
from models.recordings.open import open_recording
from tests.rigs.lsl import stream_config, wait_until
from tests.tools.replay.test_replay import SFREQ, replaying, summary, write_edf
from tools.replay.fault_plan import (
    KINDS,
    OUTLETS,
    STORM,
    Fault,
    FaultError,
    FaultPlan,
    draw_storm,
    parse_fault,
    parse_plan,
)
from tools.replay.faults import Injector, Outlets, Samples
from tools.replay.outlets import Outlet, first_outlet

CH_NAMES, UNITS = ("EEG", "EMG left", "EMG right"), ("uV", "mV", "uV")
FIRST = first_outlet(CH_NAMES, UNITS, 100.0, "amp")
TIMES = np.arange(2000) / 100.0
DATA = np.random.default_rng(0).normal(0, 50, (2000, 3)).astype(np.float32)


def inject(*specs: str, sizes: tuple[int, ...] = (2000,), seed: int = 0) -> list[Samples | Outlets]:
    injector = Injector(parse_plan(specs, seed), FIRST)
    sent: list[Samples | Outlets] = []
    first = i = 0
    while first < len(TIMES):
        part = slice(first, first + sizes[i % len(sizes)])
        sent += injector.push(DATA[part], TIMES[part])
        first, i = part.stop, i + 1
    return [*sent, *injector.finish()]


def joined(sent: list[Samples | Outlets]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return what is sent in all, to outlets of as many channels."""
    parts = [each for each in sent if isinstance(each, Samples)]
    return np.concatenate([p.data for p in parts]), np.concatenate([p.stamps for p in parts])


def by_outlets(sent: list[Samples | Outlets]) -> list[tuple[tuple[Outlet, ...], list[Samples]]]:
    """Return the outlets that are open one after the other, and what each time is sent to them."""
    found: list[tuple[tuple[Outlet, ...], list[Samples]]] = [((FIRST,), [])]
    for each in sent:
        if isinstance(each, Outlets):
            found.append((each.outlets, []))
        else:
            found[-1][1].append(each)
    return found


specs = st.sampled_from(
    [
        *(f"{kind}@{at}+{long}" for kind in KINDS for at, long in ((0, 3), (4.005, 2.5), (18, 9))),
        *("flat@3+1:EMG left", "mains=20@7", "clock-jump=-2@5", "drift=-50", "storm=2000/h"),
        *("new-rate=73@2+0", "new-rate=512@9", "new-order@6+0", "more-channels@5+1"),
    ]
)


@settings(max_examples=60)
@given(
    plan=st.lists(specs, max_size=5),
    sizes=st.lists(st.integers(1, 900), min_size=1, max_size=5),
    seed=st.integers(0, 2**40),
)
def test_chunking_changes_nothing_that_is_sent(
    plan: list[str], sizes: list[int], seed: int
) -> None:
    whole, cut = (by_outlets(inject(*plan, sizes=tuple(s), seed=seed)) for s in ([2000], sizes))
    for (outlets, a), (others, b) in zip(whole, cut, strict=True):
        assert outlets == others
        assert bool(a) == bool(b)
        if a:
            for one, other in zip(joined([*a]), joined([*b]), strict=True):
                np.testing.assert_array_equal(one, other)


def test_without_a_fault_nothing_happens() -> None:
    data, stamps = joined(inject())
    np.testing.assert_array_equal(data, DATA)
    np.testing.assert_array_equal(stamps, TIMES)


@pytest.mark.parametrize(
    ("spec", "order"),
    [
        ("gap@5+2", np.r_[0:500, 700:2000]),
        ("drop@5+2", np.r_[0:500, 700:2000]),
        ("freeze@5+2", np.r_[0:2000]),
        ("duplicate@5+2", np.r_[0:700, 500:2000]),
        ("reorder@5+2", np.r_[0:500, 600:700, 500:600, 700:2000]),
    ],
)
def test_delivery(spec: str, order: NDArray[np.intp]) -> None:
    sent = inject(spec, sizes=(30,))
    data, stamps = joined(sent)
    np.testing.assert_array_equal(stamps, TIMES[order])
    np.testing.assert_array_equal(data, DATA[order])
    lasted = [(open_, sum(len(p.stamps) for p in parts)) for open_, parts in by_outlets(sent)]
    expected = [((FIRST,), 500), ((), 0), ((FIRST,), 1300)]
    assert lasted == (expected if spec.startswith("drop") else [((FIRST,), len(order))])
    if spec.startswith("freeze"):
        assert 200 in [len(each.stamps) for each in sent if isinstance(each, Samples)]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("clock-jump=-2@5", TIMES - 2.0 * (TIMES >= 5)),
        ("drift=1000@5+10", TIMES + 0.001 * np.clip(TIMES - 5, 0, 10)),
        ("bunch=0.1", np.ceil(TIMES / 0.1) * 0.1),
    ],
)
def test_timestamps(spec: str, expected: NDArray[np.float64]) -> None:
    data, stamps = joined(inject(spec))
    np.testing.assert_allclose(stamps, expected, atol=1e-9)
    np.testing.assert_array_equal(data, DATA)


def test_jitter_has_its_spread_and_its_seed() -> None:
    one, again, other = (joined(inject("jitter=0.01", seed=s))[1] - TIMES for s in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    assert one.std() == pytest.approx(0.01, rel=0.05)
    assert abs(one.mean()) < 0.001


@pytest.mark.parametrize(
    ("spec", "column", "check"),
    [
        ("nan@5+2:EEG", 0, lambda x: np.isnan(x).all()),
        ("inf@5+2:EEG", 0, lambda x: np.isposinf(x).all()),
        ("flat@5+2:EMG right", 2, lambda x: (x == 0).all()),
        ("clip=30@5+2:EEG", 0, lambda x: np.abs(x).max() == 30),
        ("clip=30@5+2:EMG left", 1, lambda x: np.abs(x).max() == np.float32(0.03)),
        ("mains=1000@5+2:EEG", 0, lambda x: x.std() < 60),  # 50 Hz at 100 Hz: at its zeros
        ("electrode-off@5+2:EMG left", 1, lambda x: x.std() < 0.01),
    ],
)
def test_a_bad_signal_is_on_its_channel_in_its_time(spec: str, column: int, check: Any) -> None:
    data, stamps = joined(inject(spec))
    rows = (TIMES >= 5) & (TIMES < 7)
    assert check(data[rows, column])
    untouched = DATA.copy()
    untouched[rows, column] = data[rows, column]
    np.testing.assert_array_equal(data, untouched)
    np.testing.assert_array_equal(stamps, TIMES)


def test_part_of_a_label_means_all_that_have_it() -> None:
    data, _ = joined(inject("flat@0+20:EMG"))
    assert (data[:, 1:] == 0).all()
    assert (data[:, 0] == DATA[:, 0]).all()


def test_a_storm_is_what_its_seed_says() -> None:
    plan = FaultPlan(storm_per_h=20, seed=3)
    faults = [fault for hour in range(50) for fault in draw_storm(plan, hour, CH_NAMES)]
    assert faults == [fault for hour in range(50) for fault in draw_storm(plan, hour, CH_NAMES)]
    assert faults != [f for h in range(50) for f in draw_storm(FaultPlan((), 20, 4), h, CH_NAMES)]
    assert len(faults) == pytest.approx(1000, rel=0.1)
    assert {fault.kind for fault in faults} == set(STORM)
    assert set(KINDS) - set(STORM) == set(OUTLETS) - {"drop"}
    assert all(0 <= fault.start < 50 * 3600 for fault in faults)


def test_a_spec_has_defaults() -> None:
    assert parse_fault("gap@600+12") == Fault("gap", 600.0, 12.0, 0.0)
    assert parse_fault("electrode-off@9:EMG") == Fault("electrode-off", 9.0, 600.0, 300.0, "EMG")
    assert parse_fault("clock-jump=-2@3600").amount == -2.0
    assert parse_plan(["storm=20/h", "storm=1/h"], 0).storm_per_h == 21.0


@given(text=st.text(max_size=30) | st.from_regex(r"[a-z-]{3,10}(=[\d.e-]+)?@[\de.+-]+"))
def test_any_text_is_a_fault_or_refused(text: str) -> None:
    with suppress(FaultError):
        assert parse_fault(text).kind in KINDS


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("gpa@5", "found 'gpa@5'"),
        ("gap@5+x", "found 'gap@5+x'"),
        ("flat@5:EOG", "expected a channel of EEG front, EMG, found 'EOG'"),
        ("gap@5:EEG", "expected no channel"),
        ("bunch=0@5", "expected bunch=AMOUNT from 0.001 to inf"),
        ("new-rate=1e9@5", "expected new-rate=AMOUNT from 1 to 100000"),
    ],
)
def test_what_is_no_fault_is_refused(tmp_path: Path, spec: str, message: str) -> None:
    with replaying(write_edf(tmp_path / "night.edf", seconds=2), "--fault", spec) as process:
        _, err = process.communicate()
    assert process.returncode == 2
    assert message in err


@pytest.mark.parametrize("speed", ["30", "max"])
def test_a_stream_that_drops_comes_back_without_losing_more(tmp_path: Path, speed: str) -> None:
    recording = open_recording(write_edf(tmp_path / "night.edf", seconds=20))
    arguments = ["--speed", speed, "--t0", "1000", "--fault", "drop@5+3", "--fault", "gap@12+2"]
    stamps: list[float] = []
    with (
        closing(Inlet(stream_config("night"))) as inlet,
        replaying(recording.path, *arguments, "--json") as process,
    ):

        def all_read() -> bool:
            chunk = inlet.poll()
            stamps.extend([] if chunk is None else chunk.timestamps)
            return bool(stamps) and stamps[-1] >= 1020 - 1.5 / SFREQ

        wait_until(all_read, "the last sample", timeout=60)
        found = summary(process)
    kept = np.r_[0 : int(5 * SFREQ), int(8 * SFREQ) : int(12 * SFREQ), int(14 * SFREQ) : 4000]
    np.testing.assert_allclose(stamps, 1000 + kept / SFREQ, rtol=0, atol=1e-9)
    assert inlet.connection == 2
    (stream,) = found["streams"]
    assert stream["samples"] == len(kept)
    assert [fault["kind"] for fault in stream["faults"]] == ["drop", "gap"]


def test_a_storm_is_played_to_its_end(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "night.edf", seconds=600)
    arguments = ["--speed", "max", "--fault", "storm=300/h", "--seed", "5", "--json", "--quiet"]
    newest = [0.0]
    with (
        closing(Inlet(stream_config("night"))) as inlet,
        replaying(path, *arguments) as process,
    ):

        def ended() -> bool:
            chunk = inlet.poll()
            newest.append(0.0 if chunk is None else float(np.nanmax(chunk.timestamps)))
            return process.poll() is not None

        wait_until(ended, "the end", timeout=100)
        (stream,) = summary(process)["streams"]
    assert len(stream["faults"]) > 20
    assert stream["recording_s"] == pytest.approx(600, abs=0.1)


def test_a_fault_can_be_for_one_of_several_streams(tmp_path: Path) -> None:
    paths = [write_edf(tmp_path / f"{name}.edf", 4) for name in ("left", "right")]
    with replaying(
        *paths, "--fault", "left/gap@1+2", "--no-wait", "--speed", 50, "--json"
    ) as process:
        left, right = summary(process)["streams"]
    assert [fault["kind"] for fault in left["faults"]] == ["gap"]
    assert right["faults"] == []
    assert (left["samples"], right["samples"]) == (2 * SFREQ, 4 * SFREQ)
