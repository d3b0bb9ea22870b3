"""The inlet against real sources in processes of their own."""

import re
from collections.abc import Iterator
from contextlib import closing
from string import ascii_letters
from typing import Any

import msgspec
import numpy as np
import pylsl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.lsl.inlet import Inlet
from daemon.lsl.library import _TO_LOWER, match_predicate, matches
from daemon.lsl.surroundings import SEARCH_S, WAIT_S, Surroundings
from models.errors import StreamError
from tests.rigs.lsl import Source, collect, connect, stream_config, wait_until


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A stream name of the test's own."""
    return str(request.node.name)


@pytest.fixture
def source(name: str) -> Iterator[Source]:
    with Source(name) as source:
        yield source


@pytest.fixture
def inlet(name: str) -> Iterator[Inlet]:
    with closing(Inlet(stream_config(name))) as inlet:
        yield inlet


def refusal(inlet: Inlet) -> str:
    """Poll until the inlet refuses the stream, and return what it says."""
    said: list[str] = []

    def refused() -> bool:
        try:
            assert inlet.poll() is None
        except StreamError as error:
            said.append(str(error))
        return bool(said)

    wait_until(refused, "a refusal")
    assert not inlet.connected
    return said[0]


def test_every_sample_arrives_once_in_order_with_its_own_timestamp(
    source: Source, inlet: Inlet
) -> None:
    connect(inlet)
    odd = np.cumsum(np.random.default_rng(0).uniform(0.0015, 0.0025, 5000)) + source.clock()
    for times in np.split(odd, [1, 8, 100, 101, 3000]):
        source.push(len(times), timestamps=times)
    chunk = collect(inlet, 5000)
    np.testing.assert_array_equal(chunk.data[:, 0], np.arange(5000))
    np.testing.assert_array_equal(chunk.data[:, 1], 1000 + np.arange(5000))
    np.testing.assert_array_equal(chunk.timestamps, odd)
    assert chunk.data.dtype == np.float32
    assert chunk.arrived > 0


def test_description_has_labels_units_and_rate(source: Source, inlet: Inlet) -> None:
    assert inlet.description is None
    connect(inlet)
    assert inlet.description is not None
    assert inlet.description.ch_names == ("EEG", "EMG")
    assert inlet.description.units == ("microvolts", "microvolts")
    assert inlet.description.sfreq == 500.0
    assert abs(inlet.clock_offset) < 0.1  # one machine, one clock


def test_unlabelled_channels_are_numbered(name: str) -> None:
    with Source(name, labels=None, units=None), closing(Inlet(stream_config(name))) as inlet:
        connect(inlet)
        assert inlet.description is not None
        assert inlet.description.ch_names == ("1", "2")
        assert inlet.description.units == ("", "")


@pytest.mark.parametrize("dtype", ["double64", "int16", "int32", "int64"])
def test_numbers_of_every_kind_become_float32(name: str, dtype: str) -> None:
    with Source(name, dtype=dtype) as source, closing(Inlet(stream_config(name))) as inlet:
        connect(inlet)
        source.push(10)
        chunk = collect(inlet, 10)
        assert chunk.data.dtype == np.float32
        np.testing.assert_array_equal(chunk.data[:, 0], np.arange(10))


def test_not_finite_samples_pass(source: Source, inlet: Inlet) -> None:
    connect(inlet)
    data = np.array([[1.0, np.nan], [np.inf, -np.inf]])
    source.push(2, data=data)
    np.testing.assert_array_equal(collect(inlet, 2).data, data.astype(np.float32))


@pytest.mark.parametrize("source_id", ["amplifier-1", ""])
def test_a_killed_source_is_found_again(name: str, source_id: str) -> None:
    with Source(name, source_id=source_id) as source, closing(Inlet(stream_config(name))) as inlet:
        connect(inlet)
        source.push(300)
        before = collect(inlet, 300)
        source.kill()
        wait_until(lambda: inlet.poll() is None and not inlet.connected, "the loss")
        source.restart()
        connect(inlet, 2)
        pushed = source.push(200)
        after = collect(inlet, 200)
        numbers = np.concatenate([before.data[:, 0], after.data[:, 0]])
        np.testing.assert_array_equal(numbers, np.arange(500))
        np.testing.assert_array_equal(after.timestamps, pushed)


def test_a_restart_is_noticed_without_polling_between(source: Source, inlet: Inlet) -> None:
    connect(inlet)
    source.restart()
    connect(inlet, 2)
    source.push(10)
    assert len(collect(inlet, 10).timestamps) == 10


def test_a_frozen_source_continues_when_it_thaws(source: Source, inlet: Inlet) -> None:
    connect(inlet)
    source.freeze()
    inlet._heard -= 60  # as if it had been silent for a minute
    assert inlet.poll() is None
    source.thaw()
    source.push(100)
    np.testing.assert_array_equal(collect(inlet, 100).data[:, 0], np.arange(100))
    assert inlet.connection == 1


def test_a_frozen_source_gives_way_to_its_successor(
    name: str, source: Source, inlet: Inlet
) -> None:
    connect(inlet)
    source.freeze()
    with Source(name) as successor:
        connect(inlet, 2)
        source.thaw()
        successor.push(50)
        assert len(collect(inlet, 50).timestamps) == 50


def test_a_source_may_come_after_the_inlet(name: str, inlet: Inlet) -> None:
    assert inlet.poll() is None
    assert not inlet.connected
    with Source(name):
        connect(inlet)


def test_two_matching_streams_are_refused_by_name(name: str) -> None:
    config = stream_config(name, match={"type": "Pair"})
    with (
        Source(name + " a", kind="Pair", source_id="A") as first,
        Source(name + " b", kind="Pair", source_id="B") as second,
        closing(Inlet(config)) as inlet,
    ):
        message = refusal(inlet)
        assert "exactly one visible stream with type='Pair', found 2" in message
        assert message.endswith('add source_id = "A" or source_id = "B" to match')
        for source in (first, second):
            for key in (source.spec["name"], source.spec["source_id"], source.uid):
                assert key in message
        second.close()
        wait_until(lambda: connected_despite_refusals(inlet), "the connection to the one left")


def test_a_source_that_another_stream_reads_is_refused_until_it_is_free(name: str) -> None:
    taken: dict[str, str] = {}
    other = stream_config(name, match={"source_id": "A"})
    with (
        Source(name, source_id="A") as source,
        closing(Inlet(stream_config(name), taken)) as first,
        closing(Inlet(msgspec.structs.replace(other, name="twin"), taken)) as second,
    ):
        connect(first)
        message = refusal(second)
        assert "stream 'twin': expected a source of its own" in message
        assert "that stream 'lab' reads" in message
        assert source.uid in message
        connect(first)
        first.close()
        source.restart()
        wait_until(lambda: connected_despite_refusals(second), "the source that is free")


def connected_despite_refusals(inlet: Inlet) -> bool:
    try:
        inlet.poll()
    except StreamError:
        return False
    return inlet.connected


@given(st.text(ascii_letters + "µÄ ", min_size=1), st.sampled_from([str.upper, str.lower, str]))
@settings(max_examples=20)
def test_a_type_is_the_same_in_capitals_here_and_where_streams_answer(text: str, case: Any) -> None:
    info = pylsl.StreamInfo("any", text, 1, 100, "float32", "any")
    for match in ({"type": case(text)}, {"type": text + "x"}, {"name": "any", "type": text}):
        query = match_predicate(match).encode()
        assert matches(info, match) == pylsl.lib.lib.lsl_stream_info_matches_query(info.obj, query)
    assert matches(info, {"type": text.translate(_TO_LOWER)})
    assert not matches(info, {"name": "ANY"})


def test_a_stream_is_found_whatever_the_case_of_its_type(name: str) -> None:
    kind = f"eeg-{name}"
    match = {"type": kind.upper()}
    with Source(name, kind=kind), closing(Inlet(stream_config(name, match=match))) as inlet:
        connect(inlet)


def test_what_is_visible_instead_is_said_once(name: str) -> None:
    around = Surroundings()
    with Source(name, kind="Pair"):
        assert around.look(0.0) is None
        assert around.look(WAIT_S) is None
        wait_until(around._resolver.results, "the other stream")
        said = around.look(WAIT_S + SEARCH_S)
        assert said == f"visible are {name!r} (type 'Pair')"
        assert around.look(10 * WAIT_S) is None


def test_properties_choose_among_streams(name: str) -> None:
    quoted = 'it\'s "quoted" µV & <odd>'
    match = {"name": name, "source_id": quoted, "type": "EEG"}
    with (
        Source(name),
        Source(name, source_id=quoted) as meant,
        closing(Inlet(stream_config(name, match=match))) as inlet,
    ):
        connect(inlet)
        meant.push(5)
        assert len(collect(inlet, 5).timestamps) == 5


@pytest.mark.parametrize(
    ("settings", "stream", "message"),
    [
        ({"n_channels": 4}, {}, "expected 4 channels, found 2"),
        ({"sfreq": 512}, {}, "expected 512 Hz, found 500 Hz"),
        ({}, {"sfreq": 25.0}, "from 50 to 4000 Hz, found 25 Hz"),
        ({}, {"sfreq": 0.0}, "found an irregular rate"),
        (
            {},
            {"sfreq": float("nan")},
            "description can be read, found '(invalid: stoi)' (type '', so",
        ),
        ({}, {"dtype": "string"}, "expected numbers, found a stream of strings"),
    ],
)
def test_a_stream_unlike_its_config_is_refused(
    name: str, settings: dict[str, object], stream: dict[str, object], message: str
) -> None:
    name = re.sub(r"\W", "", name)
    with (
        Source(name, **stream),  # type: ignore[arg-type]
        closing(Inlet(stream_config(name, **settings))) as inlet,
    ):
        assert message in refusal(inlet)


def test_a_stream_that_returns_changed_says_what_it_is_now(source: Source, inlet: Inlet) -> None:
    connect(inlet)
    source.restart(sfreq=1000.0, n_channels=3, labels=["EMG", "EEG", "Z"], units="millivolts")
    connect(inlet, 2)
    assert inlet.description is not None
    assert inlet.description.sfreq == 1000.0
    assert inlet.description.ch_names == ("EMG", "EEG", "Z")
    assert inlet.description.units == ("millivolts",) * 3
    source.push(5)
    assert collect(inlet, 5).data.shape == (5, 3)


def test_a_refused_stream_is_not_opened_again_but_its_successor_is(
    source: Source, inlet: Inlet
) -> None:
    connect(inlet)
    inlet.refuse(StreamError("it has no EMG"))
    assert [refusal(inlet), refusal(inlet)] == ["it has no EMG"] * 2
    assert inlet._opening is None
    source.restart()
    wait_until(lambda: connected_despite_refusals(inlet), "the connection to the successor")


def test_time_goes_on_when_the_sources_clock_was_reset(source: Source, inlet: Inlet) -> None:
    """One machine has one clock, so the change of offset is put in where it is kept."""
    connect(inlet)
    source.push(10)
    collect(inlet, 10)
    source.kill()
    wait_until(lambda: inlet.poll() is None and not inlet.connected, "the loss")
    inlet.clock_offset -= 1000.0  # the clock before was 1000 s ahead of what it is now
    source.restart()
    connect(inlet, 2)
    pushed = source.push(10)
    np.testing.assert_allclose(collect(inlet, 10).timestamps, pushed + 1000.0, atol=0.1, rtol=0)
    assert inlet.clock_offset == pytest.approx(-1000.0, abs=0.1)


def test_closing_while_opening_is_clean(source: Source, name: str) -> None:
    inlet = Inlet(stream_config(name))
    wait_until(lambda: inlet.poll() is None and inlet._opening is not None, "the opening")
    inlet.close()
    # A source notices that a reader has gone when it next sends to it.
    wait_until(
        lambda: source.push(1) is not None and not source.have_consumers(), "the reader to be gone"
    )


def test_twenty_streams_of_this_machine_are_seen(name: str) -> None:
    """With liblsl's own range of ports 16 of them are, where only this machine is asked."""
    names = {f"{name}{i}" for i in range(20)}
    infos = [pylsl.StreamInfo(each, "EEG", 1, 500, "float32", each) for each in names]
    outlets = [pylsl.StreamOutlet(info) for info in infos]
    assert {info.name() for info in pylsl.resolve_streams(2.0)} >= names
    del outlets
