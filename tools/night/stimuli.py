"""What became of pulses in a record: what outputs did, and what the echo lines saw."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from daemon.journal.reader import JournalReader
from daemon.messages import EchoMessage, PulseMessage
from tools.night.record import Selection, to_iso

_BEFORE_S = 0.1
"""A line that is high so long before the decision is of it: two clocks are not the same."""
_AFTER_S = 0.5
"""So long after its end a pin without a word from `hypnod pulse` goes low at the latest."""

Key = tuple[str, str, int]
"""Rule, session of the decision, number of the pulse."""


class OutputDid(msgspec.Struct, frozen=True, kw_only=True):
    """What an output did for a pulse, as `hypnod pulse` told."""

    output: int
    """Which `[[pulse]]` of the config, counted from 0."""
    driver: str
    on_s: float | None
    """When it was on, or a sham pulse was marked, s after the decision; null: that was not told."""
    off_s: float | None
    """When it was off again, likewise."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What the echo line saw of a pulse."""

    high_s: float
    """When it went high, s after the decision."""
    low_s: float | None
    """When it went low again; null: not within the record."""


class Stray(msgspec.Struct, frozen=True, kw_only=True):
    """An echo line that was high while nobody had decided on a pulse."""

    subject: str
    start: str
    """UTC, ISO 8601."""
    duration_s: float | None
    """null: to the end of the record."""


class High(NamedTuple):
    """A time for which a line was high, Unix time, s."""

    start: float
    end: float | None


class Stimuli:
    """What is known of one subject's stimuli.

    Args:
        reader: of the journal.
        selection: what of it.
        subject: whose.

    Raises:
        JournalError: the journal cannot be read.
    """

    def __init__(self, reader: JournalReader, selection: Selection, subject: str) -> None:
        self._subject = subject
        self._configs = {each.id: json.loads(each.config) for each in reader.sessions()}
        self._done: dict[Key, list[PulseMessage]] = defaultdict(list)
        for entry in selection.read(reader, f"pulse.{subject}"):
            if isinstance(done := entry.message, PulseMessage):
                self._done[done.rule, done.decided_in, done.pulse].append(done)
        echoes = (entry.message for entry in selection.read(reader, f"echo.{subject}"))
        self._highs = list(_highs(m for m in echoes if isinstance(m, EchoMessage)))

    def has_outputs(self, session: str) -> bool:
        """Whether the config of a run of the daemon has outputs, which tell what they do."""
        return bool(self._configs.get(session, {}).get("pulse"))

    def has_echo(self, session: str) -> bool:
        """Whether the subject has an echo line in it."""
        streams = self._configs.get(session, {}).get("streams", [])
        subjects = [subject for stream in streams for subject in stream["subjects"]]
        return any(each["name"] == self._subject and each.get("echo") for each in subjects)

    def done(self, key: Key, decided: float) -> tuple[OutputDid, ...]:
        """Return what each output did for a pulse that was decided at a time."""
        by_output: dict[tuple[int, str], list[PulseMessage]] = defaultdict(list)
        for message in self._done.get(key, []):
            by_output[message.output, message.driver].append(message)
        return tuple(
            OutputDid(
                output=output,
                driver=driver,
                on_s=_since(decided, [m for m in told if m.done != "off"][:1]),
                off_s=_since(decided, [m for m in told if m.done == "off"][-1:]),
            )
            for (output, driver), told in sorted(by_output.items())
        )

    def seen(self, decided: float, ended: float) -> Seen | None:
        """Return what the echo line saw of a pulse."""
        found = [high for high in self._highs if _meet(high, decided, ended)]
        if not found:
            return None
        # the line may still be high of the pulse before
        high = next((h for h in found if h.start >= decided - _BEFORE_S), found[0])
        low_s = None if high.end is None else round(high.end - decided, 4)
        return Seen(high_s=round(high.start - decided, 4), low_s=low_s)

    def strays(self, pulses: Sequence[tuple[float, float]], until: float) -> list[Stray]:
        """Return when the echo line was high but in pulses.

        Args:
            pulses: their begins and ends, Unix time, s.
            until: of the last decision, likewise.
        """
        return [
            Stray(
                subject=self._subject,
                start=to_iso(start),
                duration_s=None if end is None else round(end - start, 4),
            )
            for high in self._highs
            for start, end in _besides(high, sorted(pulses), until)
        ]


def _besides(high: High, pulses: Sequence[tuple[float, float]], until: float) -> Iterator[High]:
    """Yield the parts of a time that no pulse, nor what may be late of one, is in."""
    at: float | None = None  # the end of the pulse before
    for decided, ended in pulses:
        if not _meet(high, decided, ended):
            continue
        if decided - _BEFORE_S > (high.start if at is None else at + _AFTER_S):
            yield High(high.start if at is None else at, decided)
        at = max(high.start, ended, at or 0.0)
    if at is None:
        yield high
    elif (until if high.end is None else high.end) > at + _AFTER_S:
        yield High(at, high.end)


def _meet(high: High, decided: float, ended: float) -> bool:
    return high.start <= ended + _AFTER_S and (high.end is None or high.end >= decided - _BEFORE_S)


def _highs(echoes: Iterable[EchoMessage]) -> Iterator[High]:
    start: float | None = None
    for echo in echoes:
        time = datetime.fromisoformat(echo.utc).timestamp()
        if echo.high and start is None:
            start = time
        elif not echo.high and start is not None:
            yield High(start, time)
            start = None
    if start is not None:
        yield High(start, None)


def _since(decided: float, told: Sequence[PulseMessage]) -> float | None:
    if not told:
        return None
    return round(datetime.fromisoformat(told[0].utc).timestamp() - decided, 4)
