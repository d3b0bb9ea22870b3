"""The daemon in its own process, as a user starts it, and a subscriber to it."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import zmq

from daemon.messages import Message, decode
from tests.rigs.lsl import ROOT

TIMEOUT_S = 30.0


def write_config(
    folder: Path,
    streams: str,
    bundle: Path,
    *,
    bind: str = "tcp://127.0.0.1:*",
    port: int = 0,
    heartbeat_s: float = 0.2,
    high_water_mark: int = 10_000,
    journal: str = "",
    more: str = "",
) -> Path:
    """Write a config file with free ports and JSON logs.

    Args:
        folder: where to.
        streams: TOML of the [[streams]].
        bundle: folder of the model bundle.
        bind, port, heartbeat_s, high_water_mark: of [publish] and [metrics].
        journal: TOML of [journal] beside its path, which is in the folder.
        more: TOML of other sections.
    """
    config = folder / "hypnod.toml"
    config.write_text(
        f'{streams}\n[engine]\nkind = "onnxruntime"\nbundle = "{bundle}"\n'
        f'[publish]\nbind = "{bind}"\ncatchup_bind = "tcp://127.0.0.1:*"\n'
        f"heartbeat_s = {heartbeat_s}\nhigh_water_mark = {high_water_mark}\n"
        f'[journal]\npath = "{folder / "journal.sqlite"}"\n{journal}\n'
        f'[metrics]\nport = {port}\n[log]\nformat = "json"\n{more}\n',
        encoding="utf-8",
    )
    return config


def start(
    config: Path,
    environ: Mapping[str, str] | None = None,
    stderr: int = subprocess.PIPE,
    module: Sequence[str] = ("daemon",),
) -> subprocess.Popen[str]:
    """Start the daemon as systemd does, or another module that runs it."""
    return subprocess.Popen(
        [sys.executable, "-m", *module, "--config", str(config)],
        cwd=ROOT,
        stderr=stderr,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(environ or {})},
    )


class Daemon:
    """A running daemon.

    Args:
        folder, streams, bundle, settings: see `write_config`.
        environ: on top of this process's.
        module: what Python runs, with arguments.
    """

    def __init__(
        self,
        folder: Path,
        streams: str,
        bundle: Path,
        *,
        environ: Mapping[str, str] | None = None,
        module: Sequence[str] = ("daemon",),
        **settings: Any,
    ) -> None:
        config = write_config(folder, streams, bundle, **settings)
        self.process = start(config, environ, module=module)
        self.log: list[dict[str, Any]] = []
        """The log, as far as `event` has read it."""
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.put(line)
        self._lines.put("")

    def event(self, event: str, **fields: Any) -> dict[str, Any]:
        """Wait for a line of the log and return it."""
        while line := self._lines.get(timeout=TIMEOUT_S):
            if not line.startswith("{"):
                raise AssertionError(f"the daemon wrote: {line}{self._rest()}")
            entry = json.loads(line)
            self.log.append(entry)
            if entry["event"] == event and fields.items() <= entry.items():
                return dict(entry)
        raise AssertionError(f"the daemon ended before {event} {fields}: {self.log}")

    def _rest(self) -> str:
        return "".join(iter(lambda: self._lines.get(timeout=TIMEOUT_S), ""))

    def listen(self) -> None:
        """Wait until the sockets are bound."""
        listening = self.event("listening")
        self.endpoint = listening["publish"]
        self.catch_up = listening["catch_up"]
        self.url = f"http://{listening['metrics']}"

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=TIMEOUT_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and what was written after the read log."""
        code = self.process.wait(TIMEOUT_S)
        return code, self._rest()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)
        assert self.process.stderr is not None
        self.process.stderr.close()


class Subscriber:
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close(linger=0)
        self._context.term()
