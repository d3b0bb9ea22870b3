"""TTL events of the Open Ephys GUI, by its Network Events plugin (ZeroMQ REQ, port 5556).

Written after its documentation and tested against a stand-in that speaks it, not yet against a GUI.
It answers `TTLHandled` even while nothing is acquired, so it is asked first; what it has handled
follows: an old one takes no notice of Line and State, and sets channel 1 to 0.
"""

import re
from collections.abc import Mapping
from typing import Annotated

import zmq
from msgspec import Meta

from tools.pulse.errors import OutputError
from tools.pulse.output import Output, Port, Value, find_host

_ANSWER_MS = 200


class OpenEphysOutput(Output):
    """Sets a line of the GUI's events.

    Args:
        host: the machine that the GUI runs on.
        line: 1 to 256.
        port: of the plugin.

    Raises:
        OutputError: nothing answers there, or the GUI does not acquire.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        line: Annotated[int, Meta(ge=1, le=256)] = 1,
        port: Port = 5556,
    ) -> None:
        self._endpoint = f"tcp://{host}:{port}"
        self._line = line
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.REQ)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.REQ_RELAXED, 1)  # "off" is sent even where no answer came
        try:
            self._socket.connect(self._endpoint)
            self.set(on=False)
        except zmq.ZMQError as error:
            self.close()
            raise OutputError(f"{self._endpoint}: expected a host, found: {error}") from error
        except OutputError:
            self.close()
            raise

    @classmethod
    def look(cls, options: Mapping[str, Value]) -> None:
        """See whether the host's address is known."""
        find_host(str(options.get("host", "127.0.0.1")), int(options.get("port", 5556)))

    def set(self, *, on: bool) -> None:
        """Set the line."""
        if on and (found := self._ask("IsAcquiring")) != "1":
            raise OutputError(
                f"{self._endpoint}: expected the Open Ephys GUI acquiring: start acquisition "
                f"first, found {found!r} as its answer to 'IsAcquiring'"
            )
        asked = f"Line={self._line} State={int(on)}"
        found = self._ask(f"TTL {asked}")
        handled = re.fullmatch(r"TTLHandled: \w+=(\d+) \w+=(\d+)", found)
        if handled is None or [*map(int, handled.groups())] != [self._line, on]:
            raise OutputError(
                f"{self._endpoint}: expected the Open Ephys GUI to handle {asked}, found {found!r} "
                "as its answer; update its Network Events plugin"
            )

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        self._context.term()

    def _ask(self, request: str) -> str:
        self._socket.send_string(request)
        if not self._socket.poll(_ANSWER_MS):
            raise OutputError(
                f"{self._endpoint}: expected an answer of the Open Ephys GUI to {request!r} within "
                f"{_ANSWER_MS} ms, found none; does it run there, with its Network Events plugin?"
            )
        return self._socket.recv().decode("utf-8", "replace").strip("\0 \n")
