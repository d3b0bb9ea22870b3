"""The daemon as a child process: what `hypnod demo` and `hypnod bench` look at from outside.

It is started as systemd would start it, tells in the same way (sd_notify) that it is ready, and
takes free ports. LSL is confined to this machine and to streams of the same session.
"""

import json
import os
import select
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import hypnod
from models.errors import HypnodError

_LSL_CONFIG = """\
[lab]
SessionID = {session}
[multicast]
ResolveScope = machine
[log]
level = -3
"""
_READY_S = 60.0
_STOP_S = 20.0
_LOOK_S = 0.1


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
    file.write_text(_LSL_CONFIG.format(session=f"hypnod-{uuid.uuid4().hex}"), encoding="utf-8")
    return {"LSLAPICFG": str(file)}


class DaemonProcess:
    """`hypnod run` on a config.

    Args:
        config: the content of its config file; addresses and the journal are set here where it
            does not set them, the log always.
        folder: where its files go; it must be empty of those of another daemon.
        environ: on top of this process's environment.

    Attributes:
        endpoint: where it publishes, once it is ready.
        catch_up: where it answers who missed messages, once it is ready.
        metrics_url: where Prometheus looks, once it is ready.
        startup_s: from its start until it was ready, s, once it is.
    """

    def __init__(self, config: Mapping[str, Any], folder: Path, environ: Mapping[str, str]) -> None:
        self.endpoint = self.catch_up = self.metrics_url = ""
        self.startup_s = 0.0
        self._log = folder / "daemon.log"
        self._notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._notified.bind(str(folder / "notify"))
        free = "tcp://127.0.0.1:*"
        own = {
            "publish": {"bind": free, "catchup_bind": free, **config.get("publish", {})},
            "journal": {"path": str(folder / "journal.sqlite"), **config.get("journal", {})},
            "metrics": {"port": 0},
            "log": {"format": "json"},
        }
        file = folder / "hypnod.toml"
        file.write_text(to_toml({**config, **own}), encoding="utf-8")
        self._started = time.monotonic()
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603  this interpreter, our own command
                hypnod.command("run", "--config", str(file)),
                stdin=subprocess.DEVNULL,
                stderr=log,
                env={**os.environ, **environ, "NOTIFY_SOCKET": str(folder / "notify")},
            )

    def wait_ready(self) -> None:
        """Wait until it is ready.

        Raises:
            ChildError: it ended, or took too long.
        """
        while not self._is_ready():
            if self.process.poll() is not None:
                raise ChildError(self._complain(f"ended with code {self.process.returncode}"))
            if time.monotonic() - self._started > _READY_S:
                raise ChildError(self._complain(f"was not ready after {_READY_S:g} s"))
        self.startup_s = time.monotonic() - self._started
        listening = next(entry for entry in self._entries() if entry["event"] == "listening")
        self.endpoint = listening["publish"]
        self.catch_up = listening["catch_up"]
        self.metrics_url = f"http://{listening['metrics']}/metrics"

    def check_alive(self) -> None:
        """Raise ChildError, with the log, where it has ended."""
        if self.process.poll() is not None:
            raise ChildError(self._complain(f"ended with code {self.process.returncode}"))

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
            raise ChildError(self._complain(f"did not stop within {_STOP_S:g} s")) from error
        if code:
            raise ChildError(self._complain(f"ended with code {code}"))

    def close(self) -> None:
        """End it at once, if it still runs."""
        self.process.kill()
        self.process.wait()
        self._notified.close()

    def _is_ready(self) -> bool:
        if not select.select([self._notified], [], [], _LOOK_S)[0]:
            return False
        return b"READY=1" in self._notified.recv(4096).splitlines()

    def _complain(self, what: str) -> str:
        text = self._log.read_text(encoding="utf-8", errors="replace")
        lines = [_readable(line) for line in text.splitlines()[-20:]]
        return "\n  ".join(
            [f"expected the daemon to run, found that it {what}; its log ends:", *lines]
        )

    def _entries(self) -> Iterator[dict[str, Any]]:
        for line in self._log.read_text(encoding="utf-8").splitlines():
            if line.startswith("{"):
                yield json.loads(line)

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
    if not line.startswith("{"):
        return line
    entry = json.loads(line)
    level, event = entry.pop("level", ""), entry.pop("event", "")
    entry.pop("timestamp", None)
    return " ".join([f"{level:<7} {event}", *(f"{key}={value}" for key, value in entry.items())])
