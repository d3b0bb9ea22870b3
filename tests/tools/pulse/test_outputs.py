"""Each output against what it talks to: a board, a stand-in of Open Ephys, LSL, OSC."""

import socket
import threading
import time
from contextlib import ExitStack

import pylsl
import pytest
import zmq
from pythonosc.osc_message import OscMessage

from daemon.config import PublishConfig, PulseConfig
from daemon.sockets.publisher import Publisher
from models.errors import ConfigError
from tests.support.nights import iso, trigger
from tools.bench.board import Board
from tools.client.subscriber import Received, Subscriber
from tools.pulse import command, serial_ttl
from tools.pulse.command import Driven, run
from tools.pulse.errors import OutputError
from tools.pulse.gate import Pulse
from tools.pulse.lsl_markers import LslOutput
from tools.pulse.open_ephys import OpenEphysOutput
from tools.pulse.output import Output, open_output
from tools.pulse.teller import Teller


def test_a_board_sets_its_pin_and_says_so():
    with Board() as board:
        output = open_output("serial", {"port": board.port})
        output.set(on=True)
        assert board.high
        output.keep_alive()
        output.set(on=False)
        assert not board.high
        output.close()


def test_the_pin_of_a_board_that_hears_nothing_more_goes_low_by_itself():
    with Board() as board:
        output = open_output("serial", {"port": board.port})
        output.set(on=True)
        assert board.wait_for(high=False, n=2)
        output.close()


def test_a_board_that_no_longer_answers_is_an_error():
    with Board() as board:
        output = open_output("serial", {"port": board.port})
        output.set(on=True)
        board.answers = False
        with pytest.raises(OutputError, match=r"expected the board to answer 1 within 0\.4 s"):
            output.keep_alive()
        assert board.wait_for(high=False, n=2)
        output.close()


def test_a_port_without_a_board_is_refused(monkeypatch):
    monkeypatch.setattr(serial_ttl, "_START_S", 0.0)
    with Board(answers=False) as board, pytest.raises(OutputError, match="expected a board with"):
        open_output("serial", {"port": board.port})
    with pytest.raises(OutputError, match="expected a serial port, found"):
        open_output("serial", {"port": "/dev/no-such-port"})


def test_a_port_that_another_program_has_says_so():
    with Board() as board:
        first = open_output("serial", {"port": board.port})
        with pytest.raises(OutputError, match="another program has it, perhaps another hypnod pul"):
            open_output("serial", {"port": board.port})
        first.close()


def test_a_board_that_is_unplugged_is_an_error_and_is_let_go_of():
    with Board() as board:
        output = open_output("serial", {"port": board.port})
        driven = Driven(PulseConfig(driver="serial", options={}), output, lambda *_: None)
        driven.follow({Pulse("rem", "m1", "s", 0)}, 0.0)
    with pytest.raises(OutputError, match="expected a serial port, found"):
        driven.follow(set(), 0.0)
    driven.end()


@pytest.mark.parametrize(
    ("driver", "options", "sentence"),
    [
        ("osc", {"host": "127.0.0.1", "port": 999999}, "port: Expected `int` <= 65535"),
        ("osc", {"host": "127.0.0.1", "port": 9, "address": "pulse"}, "address: Expected `str`"),
        ("osc", {"host": "127.0.0.1", "port": 9, "address": 7}, "address: Expected `str`"),
        ("osc", {"port": 9}, "missing a required argument: 'host'"),
        ("lsl", {"name": ""}, "name: Expected `str` of length >= 1"),
        ("lsl", {"name": 7}, "name: Expected `str`, got `int`"),
        ("serial", {"port": "p", "baud": True}, "baud: Expected `int`, got `bool`"),
        ("open-ephys", {"line": 0}, "line: Expected `int` >= 1"),
        ("open-ephys", {"lines": 1}, "unexpected keyword argument 'lines'"),
    ],
)
def test_options_that_cannot_be_are_named(driver, options, sentence):
    with pytest.raises(ConfigError, match="expected options of the driver") as found:
        open_output(driver, options)
    assert sentence in str(found.value)


class OpenEphys:
    """Answers as the Network Events plugin does: an old one knows Channel and on alone."""

    def __init__(self, *, acquiring: bool = True, knows_lines: bool = True) -> None:
        self.heard: list[str] = []
        self.acquiring = acquiring
        self.knows_lines = knows_lines
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.REP)
        self.port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            if self._socket.poll(10):
                request = self._socket.recv_string()
                self.heard.append(request)
                self._socket.send_string(self._answer(request))

    def _answer(self, request: str) -> str:
        if request == "IsAcquiring":
            return "1" if self.acquiring else "0"
        asked = request.removeprefix("TTL ") if self.knows_lines else "Channel=1 on=0"
        return f"TTLHandled: {asked}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
        self._socket.close(linger=0)
        self._context.term()


def test_open_ephys_is_asked_whether_it_acquires_before_a_line_is_set():
    with OpenEphys() as gui:
        output = OpenEphysOutput(line=3, port=gui.port)
        output.set(on=True)
        output.set(on=False)
        output.close()
    off = "TTL Line=3 State=0"
    assert gui.heard == [off, "IsAcquiring", "TTL Line=3 State=1", off]


def test_open_ephys_that_acquires_nothing_is_an_error_and_can_still_be_told_off():
    with OpenEphys(acquiring=False) as gui:
        output = OpenEphysOutput(port=gui.port)
        with pytest.raises(OutputError, match="acquiring: start acquisition first, found '0'"):
            output.set(on=True)
        output.set(on=False)
        output.close()
    assert not any("State=1" in request for request in gui.heard)


def test_a_plugin_that_sets_another_line_than_was_asked_for_is_an_error():
    with OpenEphys(knows_lines=False) as gui:
        with pytest.raises(OutputError, match="the Open Ephys GUI to handle Line=3 State=0"):
            OpenEphysOutput(line=3, port=gui.port)
        output = OpenEphysOutput(line=1, port=gui.port)
        with pytest.raises(OutputError, match="found 'TTLHandled: Channel=1 on=0'"):
            output.set(on=True)
        output.close()


def test_open_ephys_that_does_not_answer_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(
            OutputError, match="found none; does it run there, with its Network Events"
        ):
            OpenEphysOutput(port=port)


def test_lsl_markers_are_received(request):
    name = f"pulse-{request.node.name}"
    output = LslOutput(name)
    (found,) = pylsl.resolve_byprop("name", name, timeout=20)
    inlet = pylsl.StreamInlet(found)
    inlet.open_stream(timeout=20)
    told = []
    driven = Driven(
        PulseConfig(driver="lsl", subjects=("m1",)),
        output,
        lambda pulse, done, _: told.append((pulse, done)),
    )
    of = [Pulse("rem", "m1", "s", number) for number in range(5)]
    driven.follow({of[0]}, 0.0)
    driven.follow({of[1]}, 0.0)  # one after the other: it stays on
    driven.follow({of[0]._replace(subject="m2")}, 0.0)
    for sham in (of[2], of[2], of[3]._replace(subject="m2"), of[4]):
        driven.mark(sham)
    heard = [inlet.pull_sample(timeout=20)[0] for _ in range(4)]
    assert heard == [["on"], ["off"], ["sham"], ["sham"]]
    assert told == [
        (of[0], "on"),
        (of[0], "off"),
        (of[1], "on"),
        (of[1], "off"),
        (of[2], "sham"),
        (of[4], "sham"),
    ]
    inlet.close_stream()
    output.close()


def test_a_computer_that_was_suspended_within_a_pulse_wakes_up_with_it_off(monkeypatch):
    """Linux's monotonic clock stands still meanwhile, and the time to live does not."""
    asleep_s, stop, switched = [0.0], [], []
    gettime = time.clock_gettime
    monkeypatch.setattr(time, "clock_gettime", lambda clock: gettime(clock) + asleep_s[0])
    decided = trigger(0, "on", published_utc=iso(time.time()), ttl_s=3600.0)

    class Heard:
        connected = True

        def receive(self, _timeout_s):
            yield Received("trigger.m1", decided, 0.0, 0.0)
            if switched:
                asleep_s[0] = 7200.0
                stop.append(1)

    class Line(Output):
        def set(self, *, on):
            switched.append(on)

    with Teller("") as teller:
        driven = Driven(PulseConfig(driver="line"), Line(), lambda *_: None)
        run(Heard(), [driven], teller, stop)
    assert switched == [True, False]


class Rounds:
    """In the place of a teller: ends what runs once `over` says so, and counts its rounds."""

    def __init__(self, over):
        self.stop, self.n, self._over = [], 0, over

    def send(self):
        self.n += 1
        if self._over(self.n):
            self.stop.append(1)


def test_a_daemon_that_is_not_heard_is_told_once_and_so_is_that_it_is_again(capsys, monkeypatch):
    monkeypatch.setattr(command, "_UNHEARD_S", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as free:
        endpoint = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    with Subscriber(endpoint, ["trigger."]) as heard, ExitStack() as stack:

        def come(n):
            if n == 3:
                stack.enter_context(Publisher(PublishConfig(bind=endpoint)))
            return heard.connected

        rounds = Rounds(come)
        run(heard, [], rounds, rounds.stop)
    lost, found = capsys.readouterr().err.splitlines()
    assert lost.startswith(f"expected the daemon at {endpoint}, found none: see that it runs")
    assert found == "that is over: decisions are followed"


def test_a_clock_that_is_wrong_is_told_once_and_so_is_that_it_is_right(capsys):
    """Every decision of it is refused."""
    ahead_s = [30.0, 30.0, 0.0, 0.0]

    class Heard:
        connected = True

        def receive(self, _timeout_s):
            seq = rounds.n
            made = iso(time.time() + ahead_s[seq])
            yield Received("trigger.m1", trigger(seq, "on", published_utc=made), 0.0, 0.0)

    rounds = Rounds(lambda n: n == len(ahead_s))
    run(Heard(), [], rounds, rounds.stop)
    wrong, right = capsys.readouterr().err.splitlines()
    assert "found one from 30.0 s ahead: such ones switch nothing on" in wrong
    assert right == "that is over: decisions are followed"


def test_osc_messages_are_received():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(20)
        options = {"host": "127.0.0.1", "port": receiver.getsockname()[1], "address": "/laser"}
        output = open_output("osc", options)
        output.set(on=True)
        output.keep_alive()
        output.set(on=False)
        output.close()
        heard = [OscMessage(receiver.recv(100)) for _ in range(4)]
    assert [(m.address, m.params) for m in heard] == [("/laser", [k]) for k in (0, 1, 1, 0)]


class Own(Output):
    """One that a package of somebody's brings."""

    def __init__(self, level: float) -> None:
        self.level = level

    def set(self, *, on: bool) -> None:
        """Do nothing."""


def _install(folder, monkeypatch, value):
    """Install a package with a driver `my-laser`."""
    info = folder / "own-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[hypnod.pulse]\nmy-laser = {value}\n")
    monkeypatch.syspath_prepend(folder)


class Broken(Output):
    """Raises what it should not."""

    def __init__(self, *, at_once: bool = False) -> None:
        if at_once:
            raise RuntimeError("no laser")

    def set(self, *, on: bool) -> None:
        raise KeyError("line")

    def close(self) -> None:
        raise RuntimeError("gone")


@pytest.mark.parametrize(
    ("value", "error", "sentence"),
    [
        (
            "no_such_module:Own",
            ConfigError,
            "No module named 'no_such_module'; see that no_such_module:Own",
        ),
        (f"{__name__}:Nobody", ConfigError, "no attribute 'Nobody'"),
        (f"{__name__}:OpenEphys", ConfigError, "expected a subclass of tools.pulse.output.Output"),
        (f"{__name__}:Broken", OutputError, "found RuntimeError: no laser"),
    ],
)
def test_a_driver_that_cannot_be_used_is_one_sentence(
    tmp_path, monkeypatch, value, error, sentence
):
    _install(tmp_path, monkeypatch, value)
    with pytest.raises(error) as found:
        open_output("my-laser", {"at_once": True} if error is OutputError else {})
    assert sentence in str(found.value)


def test_whatever_a_driver_raises_is_an_output_error_and_it_is_closed(tmp_path, monkeypatch):
    _install(tmp_path, monkeypatch, f"{__name__}:Broken")
    output = open_output("my-laser", {})
    driven = Driven(PulseConfig(driver="my-laser", options={}), output, lambda *_: None)
    with pytest.raises(OutputError, match=r"the driver 'my-laser': .* found KeyError: 'line'"):
        driven.follow({Pulse("rem", "m1", "s", 0)}, 0.0)
    driven.end()


def test_an_output_of_ones_own_is_found_by_its_entry_point(tmp_path, monkeypatch):
    _install(tmp_path, monkeypatch, f"{__name__}:Own")
    output = open_output("my-laser", {"level": 0.5})
    assert output.level == 0.5
    with pytest.raises(
        ConfigError, match=r"expected options of the driver 'my-laser', found: .*lev"
    ):
        open_output("my-laser", {"levle": 0.5})
    with pytest.raises(ConfigError, match=r"expected a driver of .*my-laser.*, found 'no-such'"):
        open_output("no-such", {})
