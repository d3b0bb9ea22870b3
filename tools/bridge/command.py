"""`hypnod bridge`: acquisition that sends no LSL, as an LSL stream."""

import signal
import threading
from collections import deque
from collections.abc import Iterator
from typing import Annotated, Literal

import typer

from daemon.lsl.library import load_pylsl
from models.errors import StreamError
from tools.bridge.openephys import Block, OpenEphys
from tools.bridge.outlet import SampleOutlet
from tools.shared.plain import plain_console

_POLL_S = 0.1
_SILENT_S = 5.0
_TURNS, _TURNS_S = 6, 10.0
"""A stream that begins anew so often within so many s is several, by turns."""


def bridge(
    source: Annotated[Literal["openephys"], typer.Argument(help="Which program.")],
    endpoint: Annotated[
        str, typer.Argument(help="Where its ZMQ Interface plugin sends data.")
    ] = "tcp://127.0.0.1:5556",
    name: Annotated[str, typer.Option(help="Name of the LSL stream.")] = "OpenEphys",
) -> None:
    """Make an LSL stream of **Open Ephys**, whose GUI has no LSL outlet of its own.

    Install its plugin ZMQ Interface, put it behind the source, and start the acquisition; ENDPOINT
    is its Data Port. The stream has the type EEG, the labels CH1, CH2, … by the channels' places in
    Open Ephys' stream, the unit µV, and the times that the numbers of the samples say: what is
    missing stays missing. Above 4000 Hz it is low-passed and sent at some 1000 Hz. ADC channels,
    which Open Ephys has in V, are sent as they come.

        hypnod bridge openephys tcp://127.0.0.1:5556

        hypnod init --stream OpenEphys --eeg CH1 --emg CH2      # in another terminal

    It waits where nothing comes, and begins anew where the acquisition is started again. Ctrl-C
    ends it. Tested against a stand-in that sends what the plugin's documentation says
    (docs/amplifiers.md).
    """
    del source  # the only one there is
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with OpenEphys(endpoint) as client:
        _Bridge(name, f"hypnod-bridge-{name}-{endpoint}").run(client, endpoint, stop)


class _Bridge:
    def __init__(self, name: str, source_id: str) -> None:
        self._name, self._source_id = name, source_id
        self._outlet: SampleOutlet | None = None
        self._begun: deque[float] = deque(maxlen=_TURNS)
        self._left_out = 0
        self._console = plain_console(stderr=True, soft_wrap=True)
        self._clock = load_pylsl().local_clock

    def run(self, client: OpenEphys, endpoint: str, stop: threading.Event) -> None:
        heard, silent = self._clock(), False
        while not stop.is_set():
            for block in self._blocks(client):
                heard, silent = self._clock(), False
                self._outlet = self._fitting(block, endpoint)
                self._outlet.push(block, heard)
            if not silent and self._clock() - heard > _SILENT_S:
                silent = True
                self._console.print(
                    f"no data from {endpoint} for {_SILENT_S:g} s: is the acquisition on, the ZMQ "
                    "Interface in the chain, and is this its Data Port? waiting"
                )
        if self._outlet is not None:
            self._outlet.close()

    def _blocks(self, client: OpenEphys) -> Iterator[Block]:
        """Yield what comes; a message that cannot be read ends nothing that has begun.

        Raises:
            StreamError: the first one cannot be read.
        """
        try:
            yield from client.receive(_POLL_S)
        except StreamError as error:
            if self._outlet is None:
                raise
            self._left_out += 1
            if str(self._left_out).rstrip("0") == "1":  # the first, tenth, hundredth …
                self._console.print(f"messages left out so far: {self._left_out}; {error}")

    def _fitting(self, block: Block, endpoint: str) -> SampleOutlet:
        """Return the outlet for a block, a new one where the stream has changed.

        Raises:
            StreamError: it has again and again.
        """
        outlet = self._outlet
        if outlet and (outlet.layout, outlet.channels) == (block.layout, block.channels):
            return outlet
        if outlet:
            outlet.close()
        self._begun.append(self._clock())
        if len(self._begun) == _TURNS and self._begun[-1] - self._begun[0] < _TURNS_S:
            raise StreamError(
                f"expected one stream from {endpoint}, found {block.layout.stream!r} and another "
                "by turns: choose one in the plugin, and give each a plugin and a bridge of its own"
            )
        outlet = SampleOutlet(self._name, self._source_id, block)
        self._console.print(
            f"{self._name}: {block.layout.stream!r}, {len(block.channels)} channels from "
            f"{block.layout.sample_rate:g} Hz at {outlet.sfreq:g} Hz"
        )
        return outlet
