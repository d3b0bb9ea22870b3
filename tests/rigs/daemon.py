"""The daemon in its own process, as a user starts it, and a subscriber to it."""

import signal
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import zmq

from daemon.messages import Message, StageMessage, decode
from tests.rigs.forked import Forked
from tools import daemon_process
from tools.daemon_process import DaemonProcess, Process

TIMEOUT_S = 30.0


def one_stream(
    lsl_name: str, stream: str = "cage", subject: str = "m1", eeg: str = "EEG", **more: Any
) -> str:
    """Return the TOML of a stream with one subject, on the channels `eeg` and EMG.

    Args:
        lsl_name: of the LSL stream.
        stream, subject: what they are called.
        eeg: label of its EEG.
        more: other keys of the stream.
    """
    subjects = [{"name": subject, "channels": {"eeg": eeg, "emg": "EMG"}}]
    fields = {"name": stream, "match": {"name": lsl_name}, "subjects": subjects, **more}
    return f"[[streams]]\n{daemon_process.to_toml(fields)}\n"


def is_live(epoch: int) -> Callable[[Message], bool]:
    """Return the test for the live estimate of an epoch."""
    return lambda m: isinstance(m, StageMessage) and (m.kind, m.epoch) == ("live", epoch)


def write_config(
    folder: Path, streams: str, bundle: Path, *, port: int = 0, more: str = "", **publish: Any
) -> Path:
    """Write a config file with free ports and JSON logs.

    Args:
        folder: where to.
        streams: TOML of the [[streams]].
        bundle: folder of the model bundle.
        port: of [metrics].
        more: TOML of other sections.
        publish: of [publish]; a test waits for heartbeats, and may be slow to read.
    """
    told = tomllib.loads(f"{streams}\n{more}")
    config = {
        "quality": {"no_brain": False},  # most tests' animals are made of noise
        **told,
        "staging": {"stall_s": 60.0, **told.get("staging", {})},  # a test's source may have to wait
        "engine": {"kind": "onnxruntime", "bundle": str(bundle)},
        "publish": {"heartbeat_s": 0.2, "high_water_mark": 10_000, **publish},
        "metrics": {"port": port},
    }
    return daemon_process.write_config(folder, config)


class Daemon(DaemonProcess):
    """A running daemon.

    Args:
        folder, streams, bundle, settings: see `write_config`.
        environ: on top of this process's.
        arguments: of `hypnod`, before `--config`.
    """

    def __init__(
        self,
        folder: Path,
        streams: str,
        bundle: Path,
        *,
        environ: Mapping[str, str] | None = None,
        arguments: Sequence[str] = ("run",),
        **settings: Any,
    ) -> None:
        super().__init__(
            write_config(folder, streams, bundle, **settings), environ or {}, arguments
        )

    def _start(self, config: Path, environ: Mapping[str, str], arguments: Sequence[str]) -> Process:
        if tuple(arguments) == ("run",):
            return Forked([*arguments, "--config", str(config)], environ)
        return super()._start(config, environ, arguments)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and what was written after the read log."""
        return self.process.wait(TIMEOUT_S), self.rest()


def clients_of(pid: int) -> dict[str, int]:
    """Return the processes that serve a daemon's clients, by role."""
    found: dict[str, int] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text("ascii").split():
            command = Path(f"/proc/{child}/cmdline").read_text("utf-8").split("\0")
            if "daemon.sockets.serve" in command:
                found[command[command.index("daemon.sockets.serve") + 1]] = int(child)
    return found


class Listener:
    """Hears what a daemon says about topics that start with `prefix`, from now on.

    Of `stage.` it hears everything said after this: it waits for a stream's last message, which
    a late subscriber gets again, to know that it is subscribed.
    """

    def __init__(self, endpoint: str, prefix: str = "") -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.setsockopt(zmq.RCVTIMEO, round(TIMEOUT_S * 1000))
        self._socket.setsockopt_string(zmq.SUBSCRIBE, prefix)
        if prefix.startswith("stage."):
            self._socket.setsockopt_string(zmq.SUBSCRIBE, "stream.")  # arrives after the other
        self._socket.connect(endpoint)
        self._prefix = prefix
        self.heard: list[Message] = []
        if prefix.startswith("stage."):
            self._socket.recv_multipart()

    def next(self) -> Message:
        topic, payload = self._socket.recv_multipart()
        while not topic.startswith(self._prefix.encode()):
            topic, payload = self._socket.recv_multipart()
        self.heard.append(decode(topic.decode(), payload))
        return self.heard[-1]

    def until(self, wanted: Callable[[Message], object]) -> Message:
        """Wait for a message."""
        while not wanted(message := self.next()):
            pass
        return message

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._socket.close(linger=0)
        self._context.term()
