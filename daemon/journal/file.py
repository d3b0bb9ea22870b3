"""The journal on disk: an SQLite database that SQLite's own tools can read.

`message` holds every message that is kept, packed (`daemon.journal.packing`); `session` each run of
the daemon; `restart` and `slot` what a restart goes on from. The format's version is
`PRAGMA user_version`.
"""

import os
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

from daemon.errors import JournalError
from models.errors import ConfigError

FILE = "journal.sqlite"
FORMAT = 3
"""It grows by one when a table changes, how messages are packed, or their schema."""
_APPLICATION = 0x4859504E  # "HYPN", for file(1)

_TABLES = """
CREATE TABLE session (
    id TEXT PRIMARY KEY,
    started REAL NOT NULL,      -- Unix time, s
    version TEXT NOT NULL,      -- of hypnod
    model TEXT NOT NULL,        -- first 12 digits of the bundle's SHA-256
    model_name TEXT NOT NULL,
    engine TEXT NOT NULL,
    config_hash TEXT NOT NULL,
    config TEXT NOT NULL        -- JSON, defaults included
) STRICT;
CREATE TABLE message (
    topic TEXT NOT NULL,        -- such as stage.<subject>.live or stream.<name>
    seq INTEGER NOT NULL,
    session TEXT NOT NULL REFERENCES session (id),
    hop INTEGER,                -- of a stage: the point of its stream's time grid
    onset REAL,                 -- of a stage, on the stream's LSL clock, s
    stage TEXT,                 -- of a stage
    utc REAL NOT NULL,          -- of a stage's onset, or of what the message is about; Unix time, s
    packed BLOB NOT NULL,       -- the message in JSON as it was published, deflated
    PRIMARY KEY (topic, seq)
) STRICT;
CREATE INDEX message_utc ON message (utc, topic, seq);
CREATE TABLE restart (
    stream TEXT PRIMARY KEY,
    state BLOB NOT NULL         -- MessagePack, see daemon/restart/point.py
) STRICT;
CREATE TABLE slot (
    stream TEXT NOT NULL,
    slot INTEGER NOT NULL,      -- the hop modulo the slots of the context window
    hop INTEGER NOT NULL,
    arrays BLOB NOT NULL,       -- MessagePack: the epoch's tokens, masks and readings
    PRIMARY KEY (stream, slot)
) STRICT;
"""

_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def journal_path(configured: str = "", environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the journal is.

    Args:
        configured: `journal.path` of the config; empty: the default.
        environ: tells systemd's state directory, or the user's.

    Raises:
        ConfigError: it is in a home folder, and nobody knows where that is.
    """
    if not configured:
        if state := environ.get("STATE_DIRECTORY", "").partition(":")[0]:
            return Path(state) / FILE
        home = environ.get("XDG_STATE_HOME") or Path("~") / ".local" / "state"
        configured = str(Path(home) / "hypnod" / FILE)
    try:
        return Path(configured).expanduser()
    except RuntimeError as error:
        raise ConfigError(
            f"journal.path: expected a home folder for {configured}, found none: {error}; "
            "name a path that begins with /"
        ) from error


def connect(path: Path, mode: str, timeout_s: float) -> sqlite3.Connection:
    """Open the database in autocommit mode.

    Args:
        path: the file.
        mode: `ro`, `rw` or `rwc`, as in SQLite's URIs.
        timeout_s: how long to wait for another process's lock.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    uri = f"file:{quote(str(path.absolute()))}?mode={mode}"
    _, log, _ = companions(path)
    if mode == "ro" and not log.exists() and not os.access(path.parent, os.W_OK):
        uri += "&immutable=1"  # SQLite could not make the file by which readers see writers
    return sqlite3.connect(uri, timeout=timeout_s, isolation_level=None, uri=True)


def create_tables(db: sqlite3.Connection) -> None:
    """Make the tables of a new journal, all or none; the database then is in WAL mode.

    Raises:
        sqlite3.Error: it cannot be written.
    """
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript(
        f"BEGIN IMMEDIATE; PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {FORMAT};"
        f"{_TABLES} COMMIT;"
    )


def is_new(db: sqlite3.Connection) -> bool:
    """Whether nothing was ever written to it."""
    return _pragma(db, "application_id") == 0 and not _has_tables(db)


def check_format(db: sqlite3.Connection, path: Path) -> None:
    """Refuse what is not a journal of this version.

    Raises:
        JournalError: it is of another version, or another program's.
        sqlite3.Error: it cannot be read.
    """
    if _pragma(db, "application_id") != _APPLICATION:
        raise JournalError(f"{path}: expected a journal of hypnod, found another database")
    if (found := _pragma(db, "user_version")) != FORMAT:
        raise JournalError(
            f"{path}: expected a journal of format {FORMAT}, found format {found}, which another "
            "version of hypnod wrote; move it away, or name another file in journal.path"
        )


def is_corrupt(error: sqlite3.Error) -> bool:
    """Whether SQLite says that the content of the file is broken."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _CORRUPT


def companions(path: Path) -> Iterable[Path]:
    """Return the files that belong to a database: itself, its WAL and its shared memory."""
    return (path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm"))


def _pragma(db: sqlite3.Connection, name: str) -> int:
    (value,) = db.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def _has_tables(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is not None
