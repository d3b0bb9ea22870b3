"""TTL by a serial port: an Arduino with tools/pulse/arduino/, or what speaks its protocol."""

import errno
import os
import termios
import time
from collections.abc import Mapping
from pathlib import Path

import serial

from tools.pulse.errors import OutputError
from tools.pulse.output import Output, Value

_START_S = 5.0  # a board restarts when its port is opened, and has a boot loader
_ANSWER_S = 0.4  # a busy computer may be late, and the pin goes low by itself 0.1 s later
_ASK_AGAIN_S = 0.25
_TAKEN = (errno.EAGAIN, errno.EBUSY)


class SerialOutput(Output):
    """One byte a change, `1` or `0`, sent back by the board once its pin is set.

    Args:
        port: such as /dev/ttyACM0; best by its /dev/serial/by-id/ name.
        baud: as in the sketch.

    Raises:
        OutputError: the port cannot be opened, or nothing answers there.
    """

    def __init__(self, port: str, baud: int = 115200) -> None:
        self._name = port
        self._on = False
        try:
            self._port = serial.Serial(
                port, baud, timeout=_ANSWER_S, write_timeout=_ANSWER_S, exclusive=True
            )
        except (serial.SerialException, ValueError, OSError, termios.error) as error:
            if isinstance(error, OSError) and error.errno in _TAKEN:
                raise OutputError(
                    f"{port}: expected a serial port that is free, found that another program has "
                    "it, perhaps another hypnod pulse or a serial monitor: end that first"
                ) from error
            raise OutputError(f"{port}: expected a serial port, found: {error}") from error
        until = time.monotonic() + _START_S
        while not self._is_off():
            if time.monotonic() > until:
                self._port.close()
                raise OutputError(
                    f"{port}: expected a board with the sketch of tools/pulse/arduino/, "
                    f"found no answer in {_START_S:g} s"
                )

    @classmethod
    def look(cls, options: Mapping[str, Value]) -> None:
        """See whether the port is there and may be written; opening it would restart the board."""
        port = str(options["port"])
        if not os.access(port, os.R_OK | os.W_OK):
            found = "one that you may not open" if Path(port).exists() else "none"
            raise OutputError(f"{port}: expected a serial port, found {found}")

    def set(self, *, on: bool) -> None:
        """Set the pin, and wait for the board to say so."""
        self._tell(b"1" if on else b"0")
        self._on = on

    def keep_alive(self) -> None:
        """Say that the pin is to stay high."""
        if self._on:
            self._tell(b"1")

    def close(self) -> None:
        """Close the port."""
        self._port.close()

    def _is_off(self) -> bool:
        self._port.timeout = _ASK_AGAIN_S
        try:
            self._tell(b"0")
        except OutputError:
            return False
        finally:
            self._port.timeout = _ANSWER_S
        return True

    def _tell(self, byte: bytes) -> None:
        try:
            self._port.reset_input_buffer()
            self._port.write(byte)
            answer = self._port.read_until(byte)
        except (serial.SerialException, OSError, termios.error) as error:
            raise OutputError(
                f"{self._name}: expected a serial port, found: {error}; the board's pin goes low "
                "by itself"
            ) from error
        if not answer.endswith(byte):
            raise OutputError(
                f"{self._name}: expected the board to answer {byte.decode()} within "
                f"{_ANSWER_S:g} s, found {answer!r}; its pin goes low by itself"
            )
