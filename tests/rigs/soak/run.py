"""A night in fast motion: faults, kills and a subscriber that sleeps, and nothing may be lost.

`make soak`, or `python -m tests.rigs.soak.run --help`; docs/soak.md says what it tells.
"""

import math
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import typer
from rich.console import Console

from engines.bundle import Bundle, open_bundle
from models.errors import HypnodError
from models.simulator.species import SIMULATORS
from tests.rigs.soak.lives import Lives, Memory
from tests.rigs.soak.plan import as_argument, draw_plan, expected_epochs, may_kill
from tests.rigs.soak.record import (
    Account,
    Heard,
    account,
    count_restarts,
    longest_silence,
    newest_hop,
    read_journal,
)
from tests.rigs.soak.report import SoakReport
from tools.client.follower import Follower, Start
from tools.daemon_process import ChildError, confined_lsl
from tools.replay.process import ReplayProcess
from tools.shared.measure import describe_machine
from tools.shared.species import SpeciesOption
from tools.simulate import write_edf

_RECORDING_S = 1800.0
_AHEAD_S = 3.0
"""Recording time that a kill may hide, at most; with what the daemon has read, s."""
_STUCK_S = 300.0
_PATIENCE_S = 120.0
_NAP_S = (5.0, 25.0)
_FEW = 100  # messages kept for a subscriber that sleeps: it must fetch the others
_SAY_S = 30.0

Streams = Mapping[str, Sequence[str]]
"""The subjects of each stream."""


def main(
    hours: Annotated[float, typer.Option(envvar="HOURS", min=0.01, help="Per stream.")] = 12.0,
    subjects: Annotated[int, typer.Option(envvar="SUBJECTS", min=2, help="In two streams.")] = 16,
    seed: Annotated[int, typer.Option(envvar="SEED", min=0, help="Of everything.")] = 0,
    kills: Annotated[int, typer.Option(envvar="KILLS", min=0, help="Of the daemon.")] = 10,
    storm: Annotated[float, typer.Option(envvar="STORM", min=0, help="Faults an hour.")] = 20.0,
    out: Annotated[Path | None, typer.Option(envvar="OUT", help="Also write it here.")] = None,
    keep: Annotated[Path | None, typer.Option(envvar="KEEP", help="Keep all files here.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="Default: the one shipped.")] = None,
    species: SpeciesOption = None,
) -> None:
    """Run the daemon through a night of faults and kills, and count what became of each epoch."""
    try:
        with ExitStack() as stack:
            if keep is None:
                scratch = tempfile.TemporaryDirectory(prefix="hypnod-soak-")
                folder = Path(stack.enter_context(scratch))
            else:
                keep.mkdir(parents=True)
                folder = keep
            opened = open_bundle(bundle, species)
            report = Soak(opened, hours, subjects, seed, kills, storm, folder).run()
    except HypnodError as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"soak: {error}", markup=False)
        sys.exit(error.exit_code)
    text = msgspec.json.format(msgspec.json.encode(report), indent=2).decode()
    if out is not None:
        out.write_text(text + "\n", encoding="utf-8")
    typer.echo(text)
    sys.exit(not report.ok)


class Soak:
    """One soak.

    Args:
        bundle: the model; its species is simulated.
        hours: length of each stream.
        subjects: of both streams together.
        seed: of everything.
        kills: of the daemon.
        storm: faults of a stream in an hour, on average.
        folder: for all files.
    """

    def __init__(
        self,
        bundle: Bundle,
        hours: float,
        subjects: int,
        seed: int,
        kills: int,
        storm: float,
        folder: Path,
    ) -> None:
        self._bundle, spec = bundle, bundle.spec
        self._hours, self._seed, self._folder = hours, seed, folder
        names = [f"m{k}" for k in range(1, subjects + 1)]
        half = (subjects + 1) // 2
        self._streams: Streams = {"left": names[:half], "right": names[half:]}
        self._plan = draw_plan(
            seed,
            hours,
            [label for k in range(subjects - half) for label in self._labels(k + 1).values()],
            n_streams=len(self._streams),
            n_kills=kills,
            storm_per_h=storm,
            hop_s=spec.live_hop_s,
        )
        self._expected = {
            subject: expected_epochs(self._plan, storm_, spec.epoch_s, spec.live_hop_s)
            for (_, members), storm_ in zip(self._streams.items(), self._plan.storms, strict=True)
            for subject in members
        }
        self._heard, self._late = Heard(), Heard()
        self._rng = np.random.default_rng([seed, 2])
        self._console = Console(stderr=True, soft_wrap=True, highlight=False)
        self._kills = 0
        self._asleep_s, self._said = 0.0, 0.0

    def run(self) -> SoakReport:
        """Do it, and say what came of it.

        Raises:
            HypnodError: a process did not do its part.
        """
        recordings = self._simulate()
        started = time.monotonic()
        with ExitStack() as stack:
            environ = confined_lsl(self._folder)
            publish, catch_up = (f"tcp://127.0.0.1:{port}" for port in _free_ports())
            config = self._config(publish, catch_up)
            lives = stack.enter_context(Lives(config, self._folder, environ))
            start = Start(first=0)
            follower = stack.enter_context(
                Follower(
                    publish,
                    ("stage.",),
                    catch_up=catch_up,
                    start=start,
                    patience_s=_PATIENCE_S,
                    high_water_mark=_FEW,
                )
            )
            replay = stack.enter_context(self._replay(recordings, environ))
            self._live_through(lives, follower, replay)
            lives.stop()
            self._catch_up(lives, follower, self._heard)
            memory = lives.memory
            with Follower(
                publish, ("stage.",), catch_up=catch_up, start=start, patience_s=_PATIENCE_S
            ) as late:
                self._catch_up(lives, late, self._late)
            streams = replay.summary["streams"]
        faults = Counter(fault["kind"] for stream in streams for fault in stream["faults"])
        return self._report(faults, memory, follower.fetched, time.monotonic() - started)

    def _replay(self, recordings: Sequence[Path], environ: Mapping[str, str]) -> ReplayProcess:
        """Play each recording round and round, with what goes wrong in it."""
        played = ("--speed", "max", "--loop", "--ahead", _AHEAD_S)
        faults = [
            ("--fault", f"{recording.stem}/{as_argument(fault)}")
            for recording, storm in zip(recordings, self._plan.storms, strict=True)
            for fault in storm
        ]
        length = ("--duration", f"{self._plan.duration_s:.3f}")
        return ReplayProcess(*recordings, *played, *length, *chain(*faults), environ=environ)

    def _live_through(self, lives: Lives, follower: Follower, replay: ReplayProcess) -> None:
        """Follow until all was played, killing and sleeping when it is time."""
        kills, naps = list(self._plan.kills), list(self._plan.naps)
        newest, moved = -1, time.monotonic()
        while replay.is_playing:
            lives.look()
            hop = self._heard.add_all(follower.receive(0.1))
            if hop > newest:
                newest, moved = hop, time.monotonic()
            if time.monotonic() - moved > _STUCK_S:
                raise ChildError(f"expected epochs after {newest}, found none for {_STUCK_S:g} s")
            if kills and self._time_of(newest) >= kills[0] and self._may_kill():
                kills.pop(0)
                self._kills += 1
                lives.kill()
            if naps and self._time_of(newest) >= naps[0]:
                naps.pop(0)
                self._sleep(float(self._rng.uniform(*_NAP_S)))
            self._say(newest)

    def _may_kill(self) -> bool:
        hops = [newest_hop(self._journal, m[0]) for m in self._streams.values()]
        return min(hops) > 0 and all(map(may_kill, self._plan.storms, map(self._time_of, hops)))

    def _time_of(self, hop: int) -> float:
        """Return where in the stream the last hop of an epoch begins, s."""
        spec = self._bundle.spec
        return spec.epoch_s + (hop - 1) * spec.live_hop_s

    def _labels(self, number: int) -> dict[str, str]:
        """Return the channels of the `number`th subject of a stream, by modality."""
        return {m: f"{m.upper()}{number}" for m in self._bundle.spec.modalities}

    def _sleep(self, nap_s: float) -> None:
        time.sleep(nap_s)
        self._asleep_s += nap_s

    def _catch_up(self, lives: Lives, follower: Follower, heard: Heard) -> None:
        """Fetch what is missing, to the end of the journal."""
        ends = {s: len(read_journal(self._journal, s)) for s in self._expected}
        moved, missing = time.monotonic(), -1
        while any(heard.count(s) < end for s, end in ends.items()):
            lives.look()
            heard.add_all(follower.receive(0.5))
            left = sum(end - heard.count(s) for s, end in ends.items())
            if left != missing:
                missing, moved = left, time.monotonic()
            if time.monotonic() - moved > _STUCK_S:
                return  # what is still missing is counted as lost

    def _simulate(self) -> list[Path]:
        recordings, who = [], SIMULATORS[self._bundle.spec.species]
        for k, (stream, members) in enumerate(self._streams.items()):
            self._console.print(f"simulating {len(members)} {who.plural} of {stream}")
            subjects = who(
                seed=self._seed + k,
                duration_s=min(_RECORDING_S, 60.0 * math.ceil(60 * self._hours)),
                sfreq=who.default_sfreq,
                n_subjects=len(members),
            ).subjects()
            recordings.append(self._folder / f"{stream}.edf")
            labelled = max(2, len(members))  # a person alone has labels of electrodes
            write_edf(recordings[-1], subjects, who.default_sfreq, labelled)
        return recordings

    def _config(self, publish: str, catch_up: str) -> dict[str, Any]:
        streams = [
            {
                "name": stream,
                "match": {"name": stream},
                "subjects": [
                    {"name": name, "channels": self._labels(k)}
                    for k, name in enumerate(members, start=1)
                ],
            }
            for stream, members in self._streams.items()
        ]
        sockets = {"bind": publish, "catchup_bind": catch_up}
        return {
            "streams": streams,
            "engine": {"kind": "onnxruntime", "bundle": str(self._bundle.path.resolve())},
            "staging": {"hop_s": self._bundle.spec.live_hop_s},
            "publish": {**sockets, "high_water_mark": _FEW, "heartbeat_s": 1.0},
            "journal": {"path": str(self._journal)},
        }

    @property
    def _journal(self) -> Path:
        return self._folder / "journal.sqlite"

    def _say(self, epoch: int) -> None:
        if time.monotonic() - self._said > _SAY_S:
            self._said = time.monotonic()
            self._console.print(f"{datetime.now(UTC):%H:%M:%S} epoch {epoch}")

    def _report(
        self, faults: Counter[str], memory: list[Memory], fetched: int, wall_s: float
    ) -> SoakReport:
        spec = self._bundle.spec
        hops = round(spec.epoch_s / spec.live_hop_s)
        accounts, late = (
            [
                account(n, read_journal(self._journal, s), heard.rows(s), hops)
                for s, n in self._expected.items()
            ]
            for heard in (self._heard, self._late)
        )
        zero = Account(0, 0, 0, 0, 0, 0)
        estimates, joiner = sum(accounts, zero), sum(late, zero)
        restarts = count_restarts(self._journal)
        firsts = [members[0] for members in self._streams.values()]
        return SoakReport(
            ok=estimates.is_whole and joiner.is_whole and not restarts["cold"],
            hours=self._hours,
            subjects=len(self._expected),
            seed=self._seed,
            epochs_expected=sum(self._expected.values()),
            estimates=estimates,
            late_joiner=joiner,
            lost=max(estimates.lost, joiner.lost),
            kills=self._kills,
            restarts=restarts,
            faults=dict(sorted(faults.items())),
            longest_silence=longest_silence(self._journal, firsts, self._expected),
            memory=memory,
            naps=len(self._plan.naps),
            asleep_s=self._asleep_s,
            fetched=fetched,
            wall_s=wall_s,
            speed=3600 * self._hours / wall_s,
            machine=describe_machine(),
        )


def _free_ports() -> tuple[int, int]:
    """Return two ports that nobody listens on."""
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


if __name__ == "__main__":
    typer.run(main)
