"""Changes as an LSL stream of markers, for LabRecorder and whatever reads LSL."""

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta

from daemon.lsl.library import load_pylsl
from tools.pulse.output import Output, Value


class LslOutput(Output):
    """A stream of type `Markers` whose samples are `on`, `off` and `sham`.

    Args:
        name: of the LSL stream.
    """

    def __init__(self, name: Annotated[str, Meta(min_length=1)] = "hypnod.pulse") -> None:
        lsl = load_pylsl()
        info = lsl.StreamInfo(
            name=name,
            type="Markers",
            channel_count=1,
            nominal_srate=lsl.IRREGULAR_RATE,
            channel_format=lsl.cf_string,
            source_id=name,
        )
        self._outlet = lsl.StreamOutlet(info)

    @classmethod
    def look(cls, options: Mapping[str, Value]) -> None:
        """See whether there is liblsl."""
        load_pylsl()

    def set(self, *, on: bool) -> None:
        """Push a marker."""
        self._outlet.push_sample(["on" if on else "off"])

    def mark_sham(self) -> None:
        """Push a marker where a sham pulse begins."""
        self._outlet.push_sample(["sham"])

    def close(self) -> None:
        """Take the stream off the network."""
        del self._outlet
