"""Listen to a stream for a moment, to hold its timestamps against the arrival of its samples."""

from typing import Any

from daemon.config import StreamConfig
from daemon.lsl.library import load_pylsl
from daemon.lsl.progress import is_live
from models.errors import StreamError
from models.signal.clock.source_clock import SourceClock
from models.signal.clock.timeline import Timeline

_LISTEN_S = 10.0
"""The longest, for a source that sends seldom."""
_N_WINDOWS, _WINDOW_S = 4, 1.0
"""So many windows of arrivals tell a rate that is wrong from a program that lagged for a while."""
_OPEN_S = 3.0
_SILENT_S = 3.0


def listen(stream: StreamConfig, info: Any) -> tuple[float | None, list[str]]:
    """Return how many samples came a second, and what contradicts their timestamps.

    Args:
        stream: its part of the config.
        info: the visible stream.

    Returns:
        None where no sample came, Hz; and a sentence for each contradiction.

    Raises:
        StreamError: it cannot be reached, or cannot be staged at its rate.
    """
    lsl = load_pylsl()
    inlet = lsl.StreamInlet(info, recover=False)
    try:
        inlet.open_stream(_OPEN_S)
        full, offset = inlet.info(_OPEN_S), inlet.time_correction(_OPEN_S)
        return _hold(stream, inlet, full, offset)
    except (lsl.util.TimeoutError, lsl.util.LostError) as error:
        raise StreamError(
            f"stream {stream.name!r}: expected a source that can be read, found one that is lost "
            f"or does not answer within {_OPEN_S:g} s"
        ) from error
    finally:
        inlet.close_stream()


def _hold(
    stream: StreamConfig, inlet: Any, info: Any, offset: float
) -> tuple[float | None, list[str]]:
    now = load_pylsl().local_clock
    clock = SourceClock(stream.name, _N_WINDOWS, _WINDOW_S)
    clock.connect(info.nominal_srate(), is_live=is_live(info))
    timeline = Timeline(info.nominal_srate(), stream.jitter_s)
    said: list[str] = []
    began, n, first = now(), 0, 0.0
    while not clock.is_settled and now() - began < (_LISTEN_S if n else _SILENT_S):
        _, timestamps = inlet.pull_chunk(0.1, as_numpy=True)
        if not len(timestamps):
            continue
        arrived = now()
        n, first = (n + len(timestamps), first) if n else (1, arrived)
        clock.check_unit(timestamps)
        timeline.place(timestamps, arrived)
        said += clock.look(timeline, timestamps, arrived, offset)
    return ((n - 1) / (arrived - first) if n > 1 else None), said
