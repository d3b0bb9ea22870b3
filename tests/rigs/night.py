"""A journal of simulated mice, made by the daemon's own parts without LSL and without a clock.

    python -m tests.rigs.night --mice 8 --hours 12 --out night.sqlite

It is for `hypnod night` to be looked at, and ends with the bytes that each table of it takes. One
mouse is unplugged for an hour, another one's EEG comes to look strange, a rule stimulates the
second mouse, and the daemon is restarted once; --calm leaves all that out. Estimates and features
are what the daemon would have made of the same samples; ages and latencies are drawn.
"""

import argparse
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from daemon.compose import Composer, iso
from daemon.config import (
    Config,
    DayConfig,
    JournalConfig,
    StagingConfig,
    StreamConfig,
    SubjectConfig,
)
from daemon.journal.reader import Session
from daemon.journal.sync import sync
from daemon.journal.tick import RestartPoint
from daemon.journal.writer import Journal
from daemon.lsl.inlet import Clocks
from daemon.messages import StageMessage, StreamMessage, TriggerMessage
from daemon.metrics import Metrics
from daemon.outbox import Outbox
from daemon.restart.point import encode_arrays, encode_state
from daemon.stager import Stager
from daemon.trigger.rulebook import Rulebook
from daemon.trigger.rules import Rule
from daemon.trigger.sight import Sight
from engines.base import Engine
from engines.bundle import Bundle, open_bundle
from engines.select import open_engine
from models.signal.chunk import Chunk, StreamDescription
from models.signal.pipeline import EpochBatch, Pipeline
from models.simulator.mouse.hypnogram import draw_hypnogram
from models.simulator.mouse.simulate import SimulatedMice, channel_names

SFREQ = 512
_PIECE_S = 600
_STREAM = "rack"
_DAY = DayConfig(lights_on="02:00", zone="Europe/Berlin")
_AWAY_S = 4
"""How long a restart of the daemon takes, s."""
_RULE = Rule(
    name="rem-sound",
    subjects=("m2",),
    stages=("REM",),
    probability=0.9,
    dwell_s=20.0,
    on_s=5.0,
    refractory_s=600.0,
    sham=0.5,
    seed=1,
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What night it is."""

    mice: int
    seconds: int
    start: float
    """Unix time, s."""
    seed: int
    calm: bool
    """Whether nothing goes wrong."""

    @property
    def restart(self) -> int:
        """When the daemon is restarted, s; after the night where it is not."""
        return self.seconds + _AWAY_S if self.calm else self.seconds * 2 // 3

    def seconds_of_samples(self) -> Iterator[NDArray[np.float32]]:
        """Yield each second of (SFREQ, 2 × mice) µV: a night need not fit in memory."""
        nights = [
            draw_hypnogram(
                np.random.default_rng([self.seed, k]),
                self.seconds,
                time_scale=1.0,
                every_stage=False,
            )
            for k in range(self.mice)
        ]
        for first in range(0, self.seconds, _PIECE_S):
            n = min(_PIECE_S, self.seconds - first)
            pieces = [
                SimulatedMice(
                    seed=self.seed + k,
                    duration_s=n,
                    sfreq=SFREQ,
                    artefacts_per_hour=2,
                    stages=night[first : first + n],
                )
                .record()
                .data
                for k, night in enumerate(nights)
            ]
            data = np.concatenate(pieces, axis=1)
            if not self.calm:
                self._spoil(data, first)
            yield from np.split(data, n)

    def _spoil(self, data: NDArray[np.float32], first: int) -> None:
        """Unplug the third mouse and let the last one's EEG become strange, from `first` s on."""
        times = first + np.arange(len(data)) / SFREQ
        middle = self.seconds / 2
        off = (times >= middle) & (times < middle + min(3600, self.seconds / 6))
        data[off, 4:6] = 0.0
        strange = times >= self.seconds / 3
        eeg = data[strange, -2]
        data[strange, -2] = 4 * np.diff(eeg, prepend=eeg[:1])  # far too much of its fast waves


class Night:
    """Stages a night into a journal.

    Args:
        plan: of the night.
        bundle: stages it.
        engine: runs that, with a row for each mouse.
        journal: to write to.
    """

    def __init__(self, plan: Plan, bundle: Bundle, engine: Engine, journal: Journal) -> None:
        labels = channel_names(plan.mice)
        subjects = tuple(
            SubjectConfig(name=f"m{k}", channels={"eeg": f"EEG{k}", "emg": f"EMG{k}"})
            for k in range(1, plan.mice + 1)
        )
        stream = StreamConfig(name=_STREAM, match={"name": _STREAM}, subjects=subjects)
        rules = (_RULE,) if plan.mice > 1 and not plan.calm else ()
        self._config = Config(streams=(stream,), triggers=rules, day=_DAY)
        self._names = self._config.subjects
        self._plan, self._bundle, self._journal = plan, bundle, journal
        description = StreamDescription(_STREAM, labels, ("µV",) * len(labels), SFREQ)
        self._pipeline = Pipeline(stream, bundle.spec, description, bundle.manifest.reference)
        grammar = bundle.manifest.grammar
        self._stager = Stager(engine, {_STREAM: self._names}, self._config.staging, grammar)
        self._book = Rulebook(rules, self._names)
        self._engine = engine.description
        self._outbox = Outbox(journal)
        self._rng = np.random.default_rng(plan.seed)

    def write(self) -> None:
        """Write all of it."""
        self._begin(0, "connected to the source")
        for second, data in enumerate(self._plan.seconds_of_samples()):
            if second == self._plan.restart:
                self._begin(second, f"resumed warm: {_AWAY_S:.1f} s are missing")
            if not 0 < self._plan.restart - second <= _AWAY_S:
                times = second + np.arange(SFREQ) / SFREQ
                self._pipeline.push(Chunk(data, times, second + 1.0))
            for batch in self._pipeline.pop_ready():
                self._stage(batch)
            if second % _PIECE_S == 0:
                sync(self._journal.path)
        rest = self._stager.flush()
        self._outbox.send([self._dated(m) for m in self._compose.stages(rest, 0.0, 0.0)])

    def _begin(self, second: int, reason: str) -> None:
        """Let a run of the daemon begin."""
        at, bundle = self._plan.start + second, self._bundle
        run = Session(
            id=f"{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M%SZ}-{self._plan.seed:06x}",
            started=at,
            version="0.1.0",
            model=bundle.hash[:12],
            model_name=bundle.manifest.name,
            engine=self._engine,
            config_hash=self._config.hash,
            config=msgspec.json.encode(self._config).decode(),
        )
        self._journal.begin(run)
        engine: Any = SimpleNamespace(run=run)
        self._compose = Composer(engine, bundle.spec, hops_per_epoch=1)
        message = StreamMessage(
            session=run.id,
            utc=iso(at),
            stream=_STREAM,
            state="STAGING",
            reason=reason,
            subjects=tuple(self._names),
            sfreq=SFREQ,
        )
        self._outbox.send([message])

    def _stage(self, batch: EpochBatch) -> None:
        estimates = self._stager.stage([batch])
        messages = [self._dated(m) for m in self._compose.stages(estimates, 0.0, 0.0)]
        clocks = Clocks(0.1, self._plan.start)
        point = RestartPoint(
            stream=_STREAM,
            hop=batch.hop,
            slot=batch.hop % self._stager.n_slots,
            state=encode_state("0" * 16, SFREQ, 0, clocks, 1.0, batch.after),
            arrays=encode_arrays(self._stager.newest(_STREAM)),
        )
        self._outbox.send([*self._decide(messages), *messages], [point])

    def _decide(self, messages: list[StageMessage]) -> list[TriggerMessage]:
        live = {m.subject: m for m in messages if m.kind == "live"}
        sights = {name: Sight.of(message, armed=True) for name, message in live.items()}
        told = self._book.look(sights, lambda _rule, _subject: True)
        return [
            msgspec.structs.replace(
                message,
                utc=live[message.subject].published_utc,
                published_utc=live[message.subject].published_utc,
            )
            for message in self._compose.triggers(live, told)
        ]

    def _dated(self, message: StageMessage) -> StageMessage:
        """Put a message at its place in the night, as late as it would have been."""
        onset = self._plan.start + message.onset
        lag_s = StagingConfig().final_lag * message.epoch_s if message.kind == "final" else 0.0
        late = float(self._rng.uniform(0.003, 0.02)) + lag_s
        return msgspec.structs.replace(
            message,
            utc=iso(onset),
            latency_s=late,
            age_s=late + 0.001,
            published_utc=iso(onset + message.epoch_s + late, "microseconds"),
        )


def write_night(path: Path, plan: Plan) -> None:
    """Write a night into a journal that is not there yet."""
    bundle = open_bundle()
    n_read = StagingConfig().final_lag + 1
    with (
        open_engine(bundle, "onnxruntime", n_rows=plan.mice, n_read=n_read) as engine,
        Journal(JournalConfig(path=str(path)), Metrics()) as journal,
    ):
        Night(plan, bundle, engine, journal).write()


def bytes_by_table(path: Path) -> dict[str, int]:
    """Return the bytes of each table and index of a journal."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        rows = db.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC")
        return dict(rows.fetchall())


def main() -> None:
    """Write a night and say what it takes on the disk."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mice", type=int, default=8)
    parser.add_argument("--hours", type=float, default=12.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", default="2026-11-28T19:00:00+00:00", help="ISO 8601")
    parser.add_argument("--calm", action="store_true", help="nothing goes wrong")
    parser.add_argument("--out", type=Path, required=True, help="a new file")
    a = parser.parse_args()
    plan = Plan(
        mice=a.mice,
        seconds=round(3600 * a.hours),
        start=datetime.fromisoformat(a.start).timestamp(),
        seed=a.seed,
        calm=a.calm,
    )
    write_night(a.out, plan)
    sizes = bytes_by_table(a.out)
    per_mouse = sum(sizes.values()) / a.mice / a.hours * 12 / 1e6
    told = {"bytes": sizes, "mb_per_mouse_and_12_h": round(per_mouse, 1)}
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(told), indent=2).decode() + "\n")


if __name__ == "__main__":
    main()
