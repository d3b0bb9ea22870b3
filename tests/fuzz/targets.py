"""Everything that reads what others wrote: bytes in, an answer or one HypnodError out."""

import hashlib
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec
import zmq

from daemon.config import PublishConfig, SecurityConfig, parse_config
from daemon.journal.salvage import salvage
from daemon.messages import CatchUpReply
from daemon.sockets.catchup import CatchUp
from daemon.sockets.gate import Gate
from daemon.sockets.keys import read_pair, read_public
from engines.bundle import open_bundle
from engines.onnxruntime import open_session
from models.errors import HypnodError
from models.recordings.hypnograms.account import in_words
from models.recordings.hypnograms.interpret import Legend
from models.recordings.hypnograms.read import is_own, read_hypnogram, read_scoring
from models.recordings.open import open_recording
from models.spec import ALL_FILE, SPEC_FILE, STEP_FILE, WEIGHTS_FILE
from models.stages import MOUSE
from tests.fuzz import seeds
from tests.support.nights import stage, state, write_journal
from tests.support.paths import ROOT

_SHIPPED = ROOT / "models" / "bundles" / "sdreamer-mouse"


@dataclass(frozen=True)
class Target:
    """Something to fuzz."""

    read: Callable[[bytes], None]
    """Raises nothing, whatever the bytes are."""
    seeds: Callable[[], Sequence[bytes]]
    """Valid input."""


_RESOURCES = ExitStack()


@cache
def _folder() -> Path:
    return Path(_RESOURCES.enter_context(tempfile.TemporaryDirectory(prefix="hypnod-fuzz-")))


def _file(name: str, content: bytes) -> Path:
    path = _folder() / name
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def _config(data: bytes) -> None:
    with suppress(HypnodError, UnicodeDecodeError):
        parse_config(data.decode("utf-8"), "fuzz")


def _recording(suffix: str) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        path = _file(f"night{suffix}", data)
        with suppress(HypnodError):
            recording = open_recording(path)
            for _ in recording.chunks(1000):
                pass
            if recording.readable != recording.ch_names:  # together, at the highest rate
                for _ in open_recording(path, recording.readable).chunks(1000):
                    pass
        with suppress(HypnodError):
            if suffix != ".xdf":
                read_hypnogram(path, MOUSE)

    return read


_LEGEND = Legend(epoch_s=4.0006, codes="yasa", ignore=("a",))


def _table(data: bytes) -> None:
    for suffix in (".csv", ".tsv", ".txt"):
        with suppress(HypnodError):
            hypnogram = read_hypnogram(_file(f"stages{suffix}", data), MOUSE, epoch_s=1.0)
            hypnogram.merged()
            hypnogram.to_epochs(1.0, 100)
        with suppress(HypnodError):
            path = _file(f"stages{suffix}", data)
            in_words(read_scoring(path, MOUSE, legend=_LEGEND).account)
        is_own(_file(f"stages{suffix}", data))


def _journal(data: bytes) -> None:
    whole = _folder() / "whole.sqlite"
    whole.unlink(missing_ok=True)
    with suppress(HypnodError):
        salvage(_file("damaged.sqlite", data), whole)


def _key(data: bytes) -> None:
    for read in (read_public, read_pair):
        with suppress(HypnodError):
            read(_file("some.key", data))


def _manifest(data: bytes) -> None:
    folder = _folder() / "bundle"
    folder.mkdir(exist_ok=True)
    (folder / SPEC_FILE).write_bytes(data)
    for name in (STEP_FILE, ALL_FILE, WEIGHTS_FILE):
        (folder / name).write_bytes(b"")
    with suppress(HypnodError):
        open_bundle(folder)


def _network(data: bytes) -> None:
    with suppress(HypnodError):
        open_session(_file("step.onnx", data), 1)


def _request(data: bytes) -> None:
    reply, *messages = _answering().answer(data.split(b"\0"))
    assert msgspec.json.decode(reply, type=CatchUpReply).n_messages == len(messages)


@cache
def _answering() -> CatchUp:
    journal = _folder() / "journal.sqlite"
    write_journal(journal, [*(stage(k) for k in range(20)), *(state(k) for k in range(5))])
    gate = _RESOURCES.enter_context(Gate(SecurityConfig()))
    config = PublishConfig(catchup_bind="tcp://127.0.0.1:*")
    return _RESOURCES.enter_context(CatchUp(config, journal, gate))


def _made_journal() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = write_journal(Path(folder) / "journal.sqlite", [stage(k) for k in range(20)])
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA journal_mode = DELETE")
        return path.read_bytes()


def close() -> None:
    """End what targets have started."""
    _RESOURCES.close()
    for made in (_answering, _folder):
        made.cache_clear()


def _keys() -> list[bytes]:
    public, secret = zmq.curve_keypair()
    pair = b'metadata\n    name = m\ncurve\n    public-key = "%s"\n' % public
    return [pair, pair + b'    secret-key = "%s"\n' % secret]


def _manifests() -> list[bytes]:
    manifest = msgspec.json.decode((_SHIPPED / SPEC_FILE).read_bytes())
    nothing = hashlib.sha256(b"").hexdigest()
    manifest["files"] = dict.fromkeys((STEP_FILE, ALL_FILE, WEIGHTS_FILE), nothing)
    return [msgspec.json.encode(manifest)]


TARGETS = {
    "config": Target(_config, lambda: [seeds.CONFIG]),
    "edf": Target(_recording(".edf"), seeds.edf),
    "bdf": Target(_recording(".bdf"), seeds.bdf),
    "mat": Target(_recording(".mat"), seeds.mat),
    "xdf": Target(_recording(".xdf"), seeds.xdf),
    "hypnogram": Target(_table, lambda: seeds.TABLES),
    "journal": Target(_journal, lambda: [_made_journal()]),
    "request": Target(_request, lambda: seeds.REQUESTS),
    "key": Target(_key, _keys),
    "manifest": Target(_manifest, _manifests),
    "network": Target(_network, lambda: [(_SHIPPED / STEP_FILE).read_bytes()[:4096]]),
}
