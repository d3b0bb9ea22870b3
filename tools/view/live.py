"""What the daemon's messages say right now, drawn for a terminal."""

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from itertools import groupby

import numpy as np
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from daemon.messages import Action, Heartbeat, StageMessage, StreamMessage, TriggerMessage
from daemon.state import READY, State
from models.signal.quality import OK
from models.stages import ART, COLOURS, UNKNOWN
from tools.client.subscriber import SILENT_S, Received, Subscriber, age_when_received

STAGE_STYLES = {stage: colour.terminal for stage, colour in COLOURS.items()}
STAGE_GLYPHS = {
    **dict.fromkeys(("Wake", "W"), "▇"),
    "REM": "▅",
    "N1": "▄",
    "N2": "▃",
    "NREM": "▂",
    "N3": "▁",
    ART: "×",
    UNKNOWN: "·",
}
"""One cell each; the heights are in a hypnogram's order, so that it reads without colours too."""
_LATE_HOPS = 3
_HISTORY = 1024
_NARROW = 100
_MOST_SECONDS = 99.5  # of an age that is told in seconds
_LONG = 100  # minutes, and hours: then the next unit, so that six cells do for years
_NUMBERS = {"slots": 5, "latency": 8, "age": 6}
_DRIFT = {"drift": 5}
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_STATE_STYLES = {
    **dict.fromkeys(READY, "green"),
    State.FAILED: "bold white on red",
    State.STALLED: "bold red",
}
_MIN_STRIP, _MAX_STRIP = 10, 180
_TRIGGER_CELLS = 30
ACTION_STYLES: dict[Action, str] = {
    "on": "bold black on bright_yellow",
    "sham": "bold bright_yellow",
    "refused": "bold red",
    "off": "dim",
}


class LiveView:
    """A picture of all streams and subjects, kept up to date by `update`; rich renders it.

    Args:
        subscriber: whose messages these are: its endpoint and what it missed are shown.
        truth: true stages by subject, where they are known (a simulation): drawn below each strip.
        whole: the strip shows all epochs there are, several in a cell, not the last ones.
    """

    def __init__(
        self,
        subscriber: Subscriber,
        truth: Mapping[str, Sequence[str]] | None = None,
        *,
        whole: bool = False,
    ) -> None:
        self._subscriber = subscriber
        self._truth = truth or {}
        self._whole = whole
        self._heartbeat: Received | None = None
        self._heard: float | None = None
        self._n_messages = 0
        self._streams: dict[str, StreamMessage] = {}
        self._live: dict[str, tuple[StageMessage, float]] = {}
        """By subject, with the time at which its epoch ended, on this process's monotonic clock."""
        self._history: dict[str, deque[tuple[int, str]]] = {}
        self._triggers: dict[str, dict[str, TriggerMessage]] = {}
        """What each rule said last, by subject."""

    def update(self, received: Received) -> None:
        """Take in a message."""
        message = received.message
        self._n_messages += 1
        self._heard = received.monotonic
        if isinstance(message, Heartbeat):
            self._heartbeat = received
        elif isinstance(message, StreamMessage):
            self._streams[message.stream] = message
        elif isinstance(message, TriggerMessage):
            self._triggers.setdefault(message.subject, {})[message.rule] = message
        elif isinstance(message, StageMessage) and message.kind == "live":
            self._take_stage(message, received.monotonic - age_when_received(message, received))

    def _take_stage(self, message: StageMessage, ended: float) -> None:
        former = self._live.get(message.subject)
        if former is None or message.hop <= former[0].hop:  # another journal: counts anew
            self._history[message.subject] = deque(maxlen=None if self._whole else _HISTORY)
        self._live[message.subject] = (message, ended)
        self._history[message.subject].append((message.hop, message.stage))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        now = time.monotonic()
        parts: list[Text | Table] = [self._daemon(now), *map(self._stream, self._streams.values())]
        if self._live:
            parts.append(self._subjects(now, options.max_width))
        yield Group(*parts)

    def _daemon(self, now: float) -> Text:
        line = Text("hypnod ", style="bold", no_wrap=True, overflow="ellipsis")
        line.append(f"{self._subscriber.endpoint}  ", style="not bold dim")
        if self._heard is None:
            return line.append("waiting for a daemon to say something", style="not bold yellow")
        beat = self._heartbeat
        silent_s = now - self._heard
        if silent_s > SILENT_S:
            line.append(f"✖ the daemon is silent for {silent_s:.0f} s  ", style="bold red")
        elif beat is not None:
            line.append(f"♥ {now - beat.monotonic:.0f} s ago  ", style="not bold green")
        if beat is not None and isinstance(beat.message, Heartbeat):
            up = timedelta(seconds=round(beat.message.uptime_s + now - beat.monotonic))
            line.append(f"up {up}  version {beat.message.version}  ", style="not bold")
        line.append(f"{self._n_messages} messages, ", style="not bold dim")
        missed = self._subscriber.n_missed
        line.append(f"{missed} missed", style="bold red" if missed else "not bold dim")
        return line

    @staticmethod
    def _stream(message: StreamMessage) -> Text:
        style = _STATE_STYLES.get(State(message.state), "yellow")
        line = Text("stream ", style="dim", no_wrap=True, overflow="ellipsis")
        line.append(f"{message.stream} ", style="not dim bold")
        line.append(f"{message.state}", style=f"not dim {style}")
        rate = "" if message.sfreq is None else f"  {message.sfreq:.2f} Hz"
        return line.append(f"{rate}  {message.reason}", style="dim")

    def _subjects(self, now: float, width: int) -> Table:
        messages = [message for message, _ in self._live.values()]
        layout = _Layout(messages, width, has_triggers=bool(self._triggers))
        table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim", pad_edge=False)
        for name in ("subject", "stage"):
            table.add_column(name, no_wrap=True)
        for stage in layout.stages:
            header = Text(stage, style=STAGE_STYLES[stage])
            table.add_column(header, width=layout.bar_cells, no_wrap=True)
        if layout.trigger_cells:
            table.add_column("trigger", width=layout.trigger_cells, no_wrap=True)
        strip = "live, truth below" if self._truth else "live stages, newest right"
        strip = "all stages so far" if self._whole else strip
        table.add_column(strip, width=layout.strip_cells, no_wrap=True)
        for modality in layout.modalities:
            table.add_column(modality.upper(), max_width=layout.quality_cells, no_wrap=True)
        if layout.shows_pathway:
            table.add_column("read", no_wrap=True)
        for name, cells in layout.numbers.items():
            table.add_column(name, min_width=cells, no_wrap=True, justify="right")
        for message, ended in sorted(self._live.values(), key=lambda pair: pair[0].subject):
            table.add_row(*self._row(message, now - ended, layout))
        return table

    def _row(self, message: StageMessage, age_s: float, layout: "_Layout") -> Iterable[Text]:
        yield Text(message.subject, style="bold")
        yield Text(message.stage, style=f"bold {STAGE_STYLES[message.stage]}")
        for stage in layout.stages:
            yield bar(message.probabilities.get(stage, 0.0), STAGE_STYLES[stage], layout.bar_cells)
        if layout.trigger_cells:
            yield _draw_triggers(self._triggers.get(message.subject, {}))
        yield self._strip(message, layout.strip_cells)
        for modality in layout.modalities:
            why = message.validity.get(modality, "")
            yield Text(why.replace("_", " "), style="green" if why == OK else "bold red")
        if layout.shows_pathway:
            yield Text(message.pathway or "none", style="" if message.pathway else "red")
        if layout.shows_drift:
            drift = message.drift
            beyond = drift is not None and drift > 1
            yield Text("–" if drift is None else f"{drift:.2f}", style="bold red" if beyond else "")
        yield Text(f"{message.slots_filled}/{message.n_context}")
        latency = message.latency_s
        yield Text("–" if latency is None else f"{1e3 * latency:.1f} ms")
        late = age_s > _LATE_HOPS * message.hop_s
        yield Text(_age(age_s), style="bold red" if late else "")

    def _strip(self, message: StageMessage, cells: int) -> Text:
        """Draw the last epochs, one cell each; blank where no message came."""
        history = dict(self._history[message.subject])
        if self._whole:
            history = squeeze(history, cells)
            return draw_stages(history, min(history) + cells - 1, cells)
        strip = draw_stages(history, message.hop, cells)
        if truth := self._truth.get(message.subject):
            below = draw_stages(dict(enumerate(truth)), message.hop, cells)
            below.stylize("dim")
            strip.append("\n").append_text(below)
        return strip


class _Layout:
    """Which columns there are, and how wide; the strip takes what the others leave."""

    def __init__(self, messages: Sequence[StageMessage], width: int, *, has_triggers: bool) -> None:
        narrow = width < _NARROW
        self.stages = list(dict.fromkeys(s for m in messages for s in m.probabilities))
        self.modalities = list(dict.fromkeys(name for m in messages for name in m.validity))
        self.shows_pathway = not narrow  # the quality of the modalities tells it too
        self.shows_drift = not narrow and any(m.drift is not None for m in messages)
        self.numbers = {**(_DRIFT if self.shows_drift else {}), **_NUMBERS}
        self.bar_cells = 4 if narrow else 7
        self.quality_cells = 7 if narrow else 12
        others = [
            max(len("subject"), *(len(m.subject) for m in messages)),
            max(len("stage"), *(len(m.stage) for m in messages)),
            *[self.bar_cells] * len(self.stages),
            *(self._quality(name, messages) for name in self.modalities),
            *self.numbers.values(),
        ]
        if self.shows_pathway:
            others.append(len("mixed"))
        self.trigger_cells = has_triggers * (len("trigger") if narrow else _TRIGGER_CELLS)
        if has_triggers:
            others.append(self.trigger_cells)
        left = width - sum(others) - len(others)
        self.strip_cells = min(max(left, _MIN_STRIP), _MAX_STRIP)

    def _quality(self, name: str, messages: Sequence[StageMessage]) -> int:
        widest = max(len(name), *(len(m.validity.get(name, "")) for m in messages))
        return min(widest, self.quality_cells)


def _draw_triggers(said: Mapping[str, TriggerMessage]) -> Text:
    """Draw what each rule said last, a line each; its name only where there are several."""
    lines = []
    for rule, message in said.items():
        line = Text.assemble((message.action, ACTION_STYLES[message.action]))
        if len(said) > 1:
            line.append(f" {rule}")
        lines.append(line.append(f" {message.reason}", "dim"))
    return Text("\n").join(lines)


def squeeze(stages: Mapping[int, str], cells: int) -> dict[int, str]:
    """Return the commonest stage of as many epochs a cell as let all of them fit.

    Args:
        stages: by epoch; at least one.
        cells: how many there are at most.

    Returns:
        The stages by cell; 0 is the first one, and one without an epoch is left out.
    """
    names = list(dict.fromkeys(stages.values()))
    codes = {name: i for i, name in enumerate(names)}
    epochs = np.fromiter(stages, np.int64, len(stages))
    found = np.fromiter(map(codes.__getitem__, stages.values()), np.int64, len(stages))
    epochs -= epochs.min()
    per_cell = -(-(int(epochs.max()) + 1) // cells)
    votes = np.bincount(epochs // per_cell * len(names) + found, minlength=cells * len(names))
    table = votes.reshape(cells, len(names))
    voted = np.flatnonzero(table.any(axis=1)).tolist()
    return {cell: names[table[cell].argmax()] for cell in voted}


def draw_stages(stages: Mapping[int, str], newest: int, cells: int) -> Text:
    """Draw a strip of stages by epoch, up to `newest`, one cell an epoch, as wide as `cells`."""
    strip = Text()
    epochs = range(newest - cells + 1, newest + 1)
    for stage, run in groupby(stages.get(epoch) for epoch in epochs):
        glyph, style = (" ", "") if stage is None else (STAGE_GLYPHS[stage], STAGE_STYLES[stage])
        strip.append(glyph * len(list(run)), style)
    return strip


def bar(fraction: float, style: str, cells: int) -> Text:
    """Draw a horizontal bar of eighths of a cell."""
    eighths = round(min(max(fraction, 0.0), 1.0) * 8 * cells)
    text = "█" * (eighths // 8) + _EIGHTHS[eighths % 8] * (eighths % 8 > 0)
    return Text(text.ljust(cells), style=f"{style} on grey23")


def _age(age_s: float) -> str:
    if age_s < _MOST_SECONDS:
        return f"{age_s:.1f} s"
    minutes = age_s / 60
    hours = minutes / 60
    if round(minutes) < _LONG:
        return f"{minutes:.0f} min"
    return f"{hours:.0f} h" if round(hours) < _LONG else f"{hours / 24:.0f} d"
