"""Kill the daemon again and again, and hold its journal against a run that nothing interrupted.

A source of its own feeds the daemon, which is ended by SIGKILL at random moments, while it
starts, waits, stages or writes; the source goes on meanwhile. In the end the journal must hold
every message that was heard, byte by byte, no number twice, every epoch once as live and once as
final, and the probabilities that an uninterrupted run gives on the samples that were received.

    python -m tests.rigs.kill.run --kills 100 --hop 0.25
"""

import json
import os
import random
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import typer
import zmq

from daemon.config import StagingConfig, StreamConfig, SubjectConfig
from daemon.journal.reader import Entry, JournalReader
from daemon.messages import StageMessage
from daemon.stager import Estimate
from engines.bundle import Bundle, open_bundle
from models.simulator.species import SIMULATORS
from tests.rigs.kill.reference import SUBJECTS, Signal, Stretch, labels_of, reference
from tests.rigs.lsl import Source
from tools.daemon_process import DaemonProcess, confined_lsl, write_config
from tools.shared.species import SpeciesOption

_STREAM = "kills"
_PATIENT_S = 600.0  # the source is no real-time one: its silence says nothing
_STAGED_S = 30.0
_DRAWN_HZ = 512.0  # pieces are drawn as so many samples of an epoch of a second
_MOST_SCALED = 8.0  # longer by so much at most: twelve of them fit into LSL's buffers


@dataclass
class KillReport:
    """What became of a run."""

    kills: int = 0
    epochs: int = 0
    """Live estimates in the journal."""
    due: int = 0
    """Of them those of epochs that do not overlap."""
    finals: int = 0
    heard: int = 0
    """Messages that a subscriber heard."""
    warm: int = 0
    cold: int = 0
    compared: int = 0
    """Estimates held against those of the uninterrupted run."""
    worst_difference: float = 0.0
    """Of a probability."""
    problems: list[str] = field(default_factory=list)


class KillRun:
    """A daemon, its source and its listener.

    Args:
        folder: where everything goes.
        bundle: the model.
        seed: of everything random.
        hop_s: from one estimate to the next, s; default: as often as the species is staged live.
    """

    def __init__(self, folder: Path, bundle: Bundle, seed: int, hop_s: float | None = None) -> None:
        spec = bundle.spec
        self._folder = folder
        self._staging = StagingConfig(hop_s=hop_s or spec.live_hop_s)
        self._sfreq = SIMULATORS[spec.species].default_sfreq
        self._scale = min(spec.epoch_s, _MOST_SCALED) * self._sfreq / _DRAWN_HZ
        self._bundle = bundle
        self._random = random.Random(seed)
        self._name = f"hypnod-kills-{os.getpid()}-{seed}"
        labels = labels_of(spec)
        self._source = Source(
            *(self._name,),
            n_channels=len(labels),
            sfreq=self._sfreq,
            labels=labels,
            source_id=self._name,
        )
        self._signal = Signal(seed, self._source.clock(), self._sfreq, len(labels))
        self._heard: list[tuple[str, bytes]] = []
        self._stretches: list[Stretch] = []
        self._report = KillReport()
        self.reader = JournalReader(folder / "journal.sqlite")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._source.close()

    def run(self, n_kills: int) -> KillReport:
        """Kill so often, stop in order, and compare."""
        while self._report.kills < n_kills:
            self._live(kill=True)
            self._report.kills += 1
            away_s = self._random.choice([0.0, 0.3, 2.0, 5.0])
            if self._random.random() < 0.1:
                away_s = self._bundle.spec.looks_back_s + 5.0
            self._source.sent += round(away_s * self._sfreq)
        self._live(kill=False)
        self._check()
        return self._report

    def _live(self, *, kill: bool) -> None:
        """Run the daemon once."""
        staged = self._last_hop()
        with DaemonProcess(write_config(self._folder, self._config()), {}) as daemon:
            if kill and self._random.random() < 0.15:
                time.sleep(self._random.uniform(0, 2))  # while it starts
            else:
                daemon.wait_ready()
                self._feed(daemon, kill=kill)
            if kill:
                daemon.process.kill()
                daemon.process.wait()
        self._note_stretch(daemon, staged)

    def _feed(self, daemon: DaemonProcess, *, kill: bool) -> None:
        with zmq.Context() as context, context.socket(zmq.SUB) as listener:
            listener.setsockopt(zmq.RCVHWM, 0)
            listener.setsockopt(zmq.LINGER, 0)
            listener.subscribe(b"st")
            listener.connect(daemon.endpoint)
            daemon.event("connected")
            for _ in range(self._random.randint(1, 12)):
                self._push(round(self._random.randint(50, 1500) * self._scale))
                time.sleep(self._random.uniform(0, 0.05))
                self._hear(listener)
            time.sleep(self._random.uniform(0, 0.1))
            if kill:
                daemon.process.kill()
            else:
                for _ in range(10):  # long epochs would not fit into LSL's buffers at once
                    self._hear(listener)
                    self._push(round(self._bundle.spec.epoch_s * self._sfreq))
                    if not listener.poll(round(1000 * _STAGED_S)):
                        raise TimeoutError("expected a stage of what was sent, found none")
                self._wait_staged()
                daemon.ask_to_stop()
            daemon.process.wait()
            self._hear(listener, 200)

    def _hear(self, listener: zmq.Socket[bytes], wait_ms: int = 0) -> None:
        while listener.poll(wait_ms):
            topic, payload = listener.recv_multipart()
            if b'"replayed":false' in payload:
                self._heard.append((topic.decode(), payload))

    def _push(self, n: int) -> None:
        """Send the next n samples."""
        numbers = np.arange(self._source.sent, self._source.sent + n)
        values, times = self._signal.values(numbers), self._signal.times(numbers)
        self._source.push(n, timestamps=times, data=values)

    def _wait_staged(self) -> None:
        """Wait until all epochs that are complete are in the journal."""
        spec, deadline = self._bundle.spec, time.monotonic() + _STAGED_S
        end = self._signal.t0 + self._source.sent / self._sfreq - 2 * spec.epoch_s
        while time.monotonic() < deadline:
            last = self.reader.latest(f"stage.{SUBJECTS[-1]}.final", 1)
            if last and (last[0].onset or 0.0) + 5 * spec.epoch_s >= end:
                return
            time.sleep(0.05)
        raise TimeoutError("expected the daemon to stage what it was sent, found that it did not")

    def _last_hop(self) -> int:
        entries = self.reader.latest(f"stage.{SUBJECTS[0]}.live", 1)
        return max((e.hop for e in entries if e.hop is not None), default=-1)

    def _note_stretch(self, daemon: DaemonProcess, staged: int) -> None:
        """Remember from which sample to which hop the daemon got this time."""
        last = self._last_hop()
        if last == staged:
            return
        lives = self.reader.latest(f"stage.{SUBJECTS[0]}.live", 1000)
        messages = [m for e in lives if isinstance(m := e.message, StageMessage)]
        onset, first_hop = min((m.onset, m.hop) for m in messages if m.hop > staged)
        away_s = _away_s(daemon)
        warm = away_s is not None
        first = onset + (away_s or 0.0)
        number = round((first - self._signal.t0) * self._sfreq)
        self._report.warm += warm
        self._report.cold += staged >= 0 and not warm
        self._stretches.append(Stretch(number, first_hop, last, warm))

    def _config(self) -> dict[str, Any]:
        subjects = [{"name": s.name, "channels": s.channels} for s in self._stream.subjects]
        return {
            "streams": [{"name": _STREAM, "match": {"name": self._name}, "subjects": subjects}],
            "engine": {"kind": "onnxruntime", "bundle": str(self._bundle.path.resolve())},
            "staging": {"stall_s": _PATIENT_S, "hop_s": self._staging.hop_s},
            "quality": {"no_brain": False},
            "publish": {"lsl": False},
        }

    @property
    def _stream(self) -> StreamConfig:
        modalities = self._bundle.spec.modalities
        subjects = tuple(
            SubjectConfig(name=name, channels={m: f"{m.upper()}{i}" for m in modalities})
            for i, name in enumerate(SUBJECTS, start=1)
        )
        return StreamConfig(name=_STREAM, match={"name": self._name}, subjects=subjects)

    def _check(self) -> None:
        kept = {topic: self._entries(topic) for topic in self.reader.topics()}
        self._check_heard(kept)
        for topic, entries in kept.items():
            if [e.seq for e in entries] != list(range(len(entries))):
                self._report.problems.append(f"{topic}: a number is missing")
        expected: dict[tuple[str, str, int], Estimate] = {
            (e.kind, e.subject, e.hop): e
            for e in reference(
                self._stretches, self._signal, self._stream, self._bundle, self._staging
            )
        }
        for subject in SUBJECTS:
            self._check_subject(subject, kept, expected)

    def _check_heard(self, kept: dict[str, list[Entry]]) -> None:
        payloads = {e.payload for entries in kept.values() for e in entries}
        heard = [payload for topic, payload in self._heard if topic != "heartbeat"]
        self._report.heard = len(heard)
        lost = sum(payload not in payloads for payload in heard)
        if lost:
            self._report.problems.append(f"{lost} published messages are not in the journal")
        if len(set(heard)) < len(heard):
            self._report.problems.append("a message was published twice")

    def _check_subject(
        self,
        subject: str,
        kept: dict[str, list[Entry]],
        expected: dict[tuple[str, str, int], Estimate],
    ) -> None:
        report = self._report
        for kind in ("live", "final"):
            entries = kept[f"stage.{subject}.{kind}"]
            messages = [m for e in entries if isinstance(m := e.message, StageMessage)]
            hops = sorted(hop for k, name, hop in expected if (k, name) == (kind, subject))
            per_epoch = round(self._bundle.spec.epoch_s / (self._staging.hop_s or 1.0))
            if [(m.epoch, m.hop) for m in messages] != [(hop // per_epoch, hop) for hop in hops]:
                report.problems.append(f"{subject}: a {kind} epoch is missing or came twice")
            for message in messages:
                estimate = expected.get((kind, subject, message.hop))
                if estimate is None:
                    report.problems.append(f"{subject}: {kind} {message.epoch} is one too many")
                else:
                    self._compare(message, estimate)
            if kind == "live":
                report.epochs += len(messages)
                report.due += sum(hop % per_epoch == 0 for hop in hops)
            else:
                report.finals += len(messages)
        if report.finals != report.due:
            report.problems.append(f"{subject}: not every epoch has its final estimate")

    def _compare(self, message: StageMessage, estimate: Estimate) -> None:
        report = self._report
        report.compared += 1
        found = list(message.probabilities.values())
        wanted = [] if estimate.probabilities is None else estimate.probabilities.tolist()
        what = f"{message.kind} {message.subject} epoch {message.epoch}"
        if len(found) != len(wanted) or message.reason != estimate.reason:
            report.problems.append(f"{what}: {message.stage} instead of {estimate.stage}")
            return
        off = max((abs(a - b) for a, b in zip(found, wanted, strict=True)), default=0.0)
        report.worst_difference = max(report.worst_difference, off)
        if off > 1e-5:
            report.problems.append(f"{what}: a probability is off by {off:.1e}")

    def _entries(self, topic: str) -> list[Entry]:
        return self.reader.messages(topic, 0, sys.maxsize, sys.maxsize)


def _away_s(daemon: DaemonProcess) -> float | None:
    """Return how long a daemon that has ended said that it was away, s; None: it began anew."""
    complete = (line for line in daemon.rest().splitlines() if line[0] + line[-1] == "{}")
    entries = [*daemon.log, *map(json.loads, complete)]
    return next((e["away_s"] for e in entries if e["event"] == "restart"), None)


def main(
    kills: Annotated[int, typer.Option(help="How often to kill.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the moments and of the signal.")] = 0,
    hop: Annotated[float | None, typer.Option(help="From one estimate to the next, s.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="Default: the one shipped.")] = None,
    species: SpeciesOption = None,
) -> None:
    """Kill the daemon again and again; print a JSON; fail where anything was lost."""
    with tempfile.TemporaryDirectory(prefix="hypnod-kills-") as name:
        os.environ.update(confined_lsl(Path(name)))
        with KillRun(Path(name), open_bundle(bundle, species), seed, hop) as run:
            report = run.run(kills)
    typer.echo(json.dumps(asdict(report), indent=2))
    raise typer.Exit(1 if report.problems else 0)


if __name__ == "__main__":
    typer.run(main)
