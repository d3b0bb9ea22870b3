"""`hypnod replay` as a child process: the source of `hypnod demo`, `hypnod bench` and the soak."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from typing import Any, Self

import hypnod
from tools.daemon_process import ChildError


class ReplayProcess:
    """A replay that shows no progress and sends no annotations.

    Args:
        arguments: of `hypnod replay`.
        environ: on top of this process's environment.
    """

    def __init__(self, *arguments: object, environ: Mapping[str, str]) -> None:
        self._out = tempfile.TemporaryFile()  # noqa: SIM115  open until `close`
        self._err = tempfile.TemporaryFile()  # noqa: SIM115  likewise
        command = ["replay", *map(str, arguments), "--no-markers", "--quiet", "--json"]
        self._process = subprocess.Popen(  # noqa: S603  this interpreter, our own command
            hypnod.command(*command),
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            env={**os.environ, **environ},
        )

    def check(self) -> None:
        """Raise ChildError, with what it said, where it failed."""
        code = self._process.poll()
        if code:
            self._err.seek(0)
            said = self._err.read().decode(errors="replace")[-2000:].rstrip()
            raise ChildError(f"expected the replay to play, found exit code {code}: {said}")

    @property
    def is_playing(self) -> bool:
        """Whether it goes on; raises ChildError where it failed."""
        self.check()
        return self._process.poll() is None

    @property
    def summary(self) -> dict[str, Any]:
        """What it tells at its end; only then."""
        self._out.seek(0)
        summary: dict[str, Any] = json.load(self._out)
        return summary

    def close(self) -> None:
        """End it, if it still plays."""
        self._process.terminate()
        self._process.wait()
        self._out.close()
        self._err.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
