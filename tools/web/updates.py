"""What a browser is told: all tiles first, then those that changed, as often as it takes them.

Each connection asks the board for what is new since it asked last, so nothing is ever queued for
a browser that is slow: it gets the newest, later.
"""

import time
from typing import Literal

import msgspec

from daemon.state import State
from tools.live.board import Board, Daemon, Pulse, Rule, Subject
from tools.live.history import History
from tools.live.trouble import SILENT, STREAM
from tools.shared.day import HOUR_S, Day

Level = Literal["bad", "warn", "fine"]


class Strip(msgspec.Struct, frozen=True, kw_only=True):
    """Cells of a hypnogram."""

    whole: bool
    """Whether these are all; else they go on where the former ones end, or take their place."""
    cell_s: float
    """Length of a cell, s."""
    first: int
    """Number of the first one; number 0 began in 1970."""
    letters: str
    """A letter a cell, see /api/site."""


class Tile(msgspec.Struct, frozen=True, kw_only=True):
    """A subject as its tile shows it."""

    name: str
    stream: str
    level: Level
    troubles: list[str]
    filling: bool
    """Whether it is staged on little context yet."""
    stage: str | None
    """The live stage; null where none is known now."""
    confidence: float
    probabilities: dict[str, float]
    evidence: dict[str, float]
    reason: str | None
    """Why the stage is ART or UNKNOWN."""
    ended: float | None
    """When its newest epoch had ended, on the clock of `now`, s."""
    hop_s: float | None
    validity: dict[str, str]
    drift: float | None
    rules: list[Rule]
    pulse: Pulse | None
    strip: Strip | None
    """What changed of its hypnogram."""


class Update(msgspec.Struct, frozen=True, kw_only=True):
    """One event."""

    now: float
    """This machine's monotonic clock, s."""
    utc: float
    """This machine's time of day, or where a replay is ahead of it the newest epoch's end, s."""
    daemon: Daemon
    names: list[str]
    """All subjects, in the order of the config."""
    tiles: list[Tile]
    """Those that changed."""
    lights: list[tuple[float, float]] | None
    """From when to when it is light, Unix time, s; null: as told before."""


class Updates:
    """What one connection has been told, and what it is to be told next.

    Args:
        board: what is known.
        day: when it is light.
        hours: how far back that is told.
    """

    def __init__(self, board: Board, day: Day, hours: float) -> None:
        self._board, self._day, self._hours = board, day, hours
        self._lights: list[tuple[float, float]] | None = None
        self._version = -1
        self._told: dict[str, tuple[History, int, int]] = {}
        """Of each subject the history, how often it was rewritten, and the last cell."""

    def next(self) -> bytes:
        """Return the next event's content, JSON."""
        with self._board.lock:
            subjects = self._board.subjects
            ends = [s.history.end for s in subjects.values() if s.history]
            utc = max([0.0 if self._board.is_past else time.time(), *ends])
            update = Update(
                now=time.monotonic(),
                utc=utc,
                lights=self._new_lights(utc),
                daemon=self._board.daemon,
                names=list(subjects),
                tiles=[self._tile(s) for s in subjects.values() if s.version > self._version],
            )
            self._version = self._board.version
        return msgspec.json.encode(update)

    def _new_lights(self, utc: float) -> list[tuple[float, float]] | None:
        """Return when it is light from `hours` ago to tomorrow, if that is new: once an hour."""
        hour = utc // HOUR_S * HOUR_S
        lights = self._day.lights(hour - (self._hours + 1) * HOUR_S, hour + 24 * HOUR_S)
        if lights == self._lights:
            return None
        self._lights = lights
        return lights

    def _tile(self, subject: Subject) -> Tile:
        stream = self._board.streams.get(subject.stream)
        live, kinds = subject.live, {trouble.what for trouble in subject.troubles}
        levels = {trouble.level for trouble in subject.troubles}
        known = live is not None and not kinds & {SILENT, STREAM}
        return Tile(
            name=subject.name,
            stream=subject.stream,
            level="bad" if "bad" in levels else "warn" if levels else "fine",
            troubles=[trouble.text for trouble in subject.troubles],
            filling=stream is not None and stream.state == State.FILLING,
            stage=live.stage if live and known else None,
            confidence=live.confidence if live and known else 0.0,
            probabilities=live.probabilities if live and known else {},
            evidence=live.evidence if live and known else {},
            reason=live.reason if live else None,
            ended=subject.ended if live else None,
            hop_s=live.hop_s if live else None,
            validity=live.validity if live else {},
            drift=live.drift if live else None,
            rules=list(subject.rules.values()),
            pulse=subject.pulse,
            strip=self._strip(subject),
        )

    def _strip(self, subject: Subject) -> Strip | None:
        history = subject.history
        if history is None or not history.end:
            return None
        told, rewritten, since = self._told.get(subject.name, (None, 0, 0))
        whole = told is not history or rewritten != history.rewritten
        first = history.cell(history.start) if whole else since
        last = history.cell(history.end - history.step_s)
        self._told[subject.name] = history, history.rewritten, last
        letters = history.strip(first, last)
        return Strip(whole=whole, cell_s=history.cell_s, first=first, letters=letters)
