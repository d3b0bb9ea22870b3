"""The daemon as a child process, seen from outside by `hypnod demo`, `hypnod bench` and the rigs.

It is started as systemd would start it, on free ports, and its log says when it is ready. LSL is
confined to this machine and to streams of the same session.
"""

import json
import os
import queue
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol, Self

import hypnod
from models.errors import HypnodError

# On one machine liblsl 1.18 finds an outlet by its port alone, and each takes two: a range of its
# own holds 64 of them, and they are asked at once, not after a vain multicast of half a second.
_LSL_CONFIG = """\
[lab]
SessionID = {session}
[multicast]
ResolveScope = machine
[ports]
BasePort = {port}
PortRange = 128
[tuning]
MulticastMinRTT = 0.02
UnicastMinRTT = 0.1
ContinuousResolveInterval = 0.1
[log]
level = -3
"""
_ANSWER_S = 60.0
_STOP_S = 20.0
_END_S = 10.0  # from the last words of a daemon that fails to its end
_LAST_LINES = 20


class ChildError(HypnodError):
    """A process that was started for this did not do its part."""

    exit_code = 1


def confined_lsl(folder: Path) -> dict[str, str]:
    """Return the environment in which LSL streams meet those of the same call and no others.

    It must be in place before a process first uses LSL.

    Args:
        folder: where LSL's config file goes; it must outlive the processes.
    """
    file = folder / "lsl_api.cfg"
    session = uuid.uuid4()
    content = _LSL_CONFIG.format(
        session=f"hypnod-{session.hex}", port=20_000 + session.int % 80 * 128
    )
    file.write_text(content, encoding="utf-8")
    return {"LSLAPICFG": str(file)}


def write_config(folder: Path, config: Mapping[str, Any]) -> Path:
    """Write a daemon's config file into a folder, and return where it is.

    Args:
        folder: where the journal goes too.
        config: its content; addresses, ports and the journal's place are added where it does not
            set them, the form of the log always.
    """
    free = "tcp://127.0.0.1:*"
    own = {
        "publish": {"bind": free, "catchup_bind": free, **config.get("publish", {})},
        "journal": {"path": str(folder / "journal.sqlite"), **config.get("journal", {})},
        "metrics": {"port": 0, **config.get("metrics", {})},
        "log": {"format": "json"},
    }
    file = folder / "hypnod.toml"
    file.write_text(to_toml({**config, **own}), encoding="utf-8")
    return file


def start_daemon(
    config: Path,
    environ: Mapping[str, str],
    stderr: int = subprocess.PIPE,
    arguments: Sequence[str] = ("run",),
) -> subprocess.Popen[str]:
    """Start the daemon; its log goes to `stderr`.

    Args:
        config: its config file.
        environ: on top of this process's environment.
        stderr: as of subprocess.
        arguments: of `hypnod`, before `--config`: `run`, or a module that runs the daemon.
    """
    return subprocess.Popen(  # noqa: S603  this interpreter, our own command
        hypnod.command(*arguments, "--config", str(config)),
        stdin=subprocess.DEVNULL,
        stderr=stderr,
        text=True,
        env={**os.environ, **environ},
    )


class Process(Protocol):
    """What is used of a `subprocess.Popen` here."""

    pid: int
    stderr: IO[str] | None

    def poll(self) -> int | None:
        """Return its exit code; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code once it has ended; raises TimeoutExpired."""

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless it has ended."""

    def kill(self) -> None:
        """Kill it."""


class DaemonProcess:
    """A running daemon, whose log is read as it writes it.

    Args:
        config: its config file, by `write_config`.
        environ: on top of this process's environment.
        arguments: see `start_daemon`.

    Attributes:
        log: the entries of its log, as far as `event` has read it.
        last_lines: the end of its log, read or not.
        endpoint: where it publishes, once it listens.
        catch_up: where it answers who missed messages, once it listens.
        url: of its metrics and probes, once it listens.
        startup_s: from its start until it was ready, s, once it is.
    """

    def __init__(
        self, config: Path, environ: Mapping[str, str], arguments: Sequence[str] = ("run",)
    ) -> None:
        self.log: list[dict[str, Any]] = []
        self.endpoint = self.catch_up = self.url = ""
        self.startup_s = 0.0
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()  # "" at the end of its log
        self.last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._started = time.monotonic()
        self.process = self._start(config, environ, arguments)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _start(self, config: Path, environ: Mapping[str, str], arguments: Sequence[str]) -> Process:
        return start_daemon(config, environ, arguments=arguments)

    def event(self, event: str, **fields: Any) -> dict[str, Any]:
        """Read on in its log to the next entry of an event with these fields, and return it.

        Raises:
            ChildError: it ended before, wrote what is no entry, or wrote nothing for 60 s.
        """
        for line in self._unread():
            if not line.startswith("{"):
                raise self._error(f"wrote {line.strip()!r}")
            entry: dict[str, Any] = json.loads(line)
            self.log.append(entry)
            if entry["event"] == event and fields.items() <= entry.items():
                return entry
        raise self._error(f"ended its log before it told: {event} {fields or ''}")

    def rest(self) -> str:
        """Return what it wrote after what `event` read, up to its end."""
        return "".join(self._unread())

    def listen(self) -> None:
        """Wait until its sockets are bound.

        Raises:
            ChildError: it ended, or took too long.
        """
        listening = self.event("listening")
        self.endpoint = listening["publish"]
        self.catch_up = listening["catch_up"]
        self.url = f"http://{listening['metrics']}"

    def wait_ready(self) -> None:
        """Wait until it is ready.

        Raises:
            ChildError: it ended, or took too long.
        """
        self.listen()
        self.event("ready")
        self.startup_s = time.monotonic() - self._started

    def get(self, path: str) -> tuple[int, str]:
        """Return the HTTP status and the text of /metrics, /healthz or /readyz."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=_ANSWER_S) as answer:  # noqa: S310  its own log tells the address
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def check_alive(self) -> None:
        """Raise ChildError, with the log, where it has ended."""
        if self.process.poll() is not None:
            raise self._error("ended")

    def ask_to_stop(self) -> None:
        """Send SIGTERM: it publishes what is due, and ends."""
        self.process.send_signal(signal.SIGTERM)

    def wait_stopped(self) -> None:
        """Wait until it has ended in order.

        Raises:
            ChildError: it failed, or does not end.
        """
        try:
            code = self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired as error:
            raise self._error(f"did not stop within {_STOP_S:g} s") from error
        if code:
            raise self._error("failed")

    def close(self) -> None:
        """End it at once, if it still runs."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        if self.process.stderr is not None:
            self.process.stderr.close()

    def _read(self) -> None:
        for line in self.process.stderr or ():
            self.last_lines.append(line)
            self._lines.put(line)
        self._lines.put("")

    def _unread(self) -> Iterator[str]:
        """Yield the lines that were not read yet, to the end of the log."""
        try:
            while line := self._lines.get(timeout=_ANSWER_S):
                yield line
        except queue.Empty:
            raise self._error(f"wrote nothing for {_ANSWER_S:g} s") from None
        self._lines.put("")  # for who asks again

    def _error(self, found: str) -> ChildError:
        """Return the error of a daemon that did this, or has ended by now."""
        try:
            found = f"ended with code {self.process.wait(_END_S)}"
            self._reader.join(_END_S)
        except subprocess.TimeoutExpired:
            pass
        first = f"expected the daemon to run, found that it {found}; its log ends:"
        return ChildError("\n  ".join([first, *map(_readable, list(self.last_lines))]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def to_toml(table: Mapping[str, Any]) -> str:
    """Return a TOML document; nested tables are written inline."""
    return "".join(f"{key} = {_toml_value(value)}\n" for key, value in table.items())


def _toml_value(value: object) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{k} = {_toml_value(v)}' for k, v in value.items())} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml_value, value))}]"
    return json.dumps(value)  # strings, numbers and booleans are written alike


def _readable(line: str) -> str:
    """Turn a line of the JSON log into one for people."""
    line = line.rstrip("\n")
    if not line.startswith("{"):
        return line
    entry = json.loads(line)
    level, event = entry.pop("level", ""), entry.pop("event", "")
    entry.pop("timestamp", None)
    return " ".join([f"{level:<7} {event}", *(f"{key}={value}" for key, value in entry.items())])
