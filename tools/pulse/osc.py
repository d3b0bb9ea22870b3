"""Changes as OSC messages (UDP): nobody says whether they came."""

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta
from pythonosc.udp_client import SimpleUDPClient

from tools.pulse.errors import OutputError
from tools.pulse.output import Output, Port, Value, find_host


class OscOutput(Output):
    """Sends 1 or 0 to an address, and again while on.

    Args:
        host: who listens.
        port: UDP.
        address: of the messages; begins with `/`.

    Raises:
        OutputError: there is no such host.
    """

    def __init__(
        self,
        host: str,
        port: Port,
        address: Annotated[str, Meta(pattern="^/")] = "/hypnod/pulse",
    ) -> None:
        self._address = address
        self._on = False
        try:
            self._client = SimpleUDPClient(host, port)
        except (OSError, ValueError) as error:
            raise OutputError(f"{host}:{port}: expected a host for OSC, found: {error}") from error
        self.set(on=False)

    @classmethod
    def look(cls, options: Mapping[str, Value]) -> None:
        """See whether the host's address is known."""
        find_host(str(options["host"]), int(options["port"]))

    def set(self, *, on: bool) -> None:
        """Send a message."""
        self._on = on
        try:
            self._client.send_message(self._address, int(on))
        except OSError as error:
            raise OutputError(
                f"{self._address}: expected to be let send OSC, found: {error}"
            ) from error

    def keep_alive(self) -> None:
        """Send it again, for a receiver that switches off without."""
        if self._on:
            self.set(on=True)

    def close(self) -> None:
        """Close the socket."""
        self._client.close()
