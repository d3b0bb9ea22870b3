"""The folder of plans, and what is told of them: where it lies, and that its files are whole."""

import os
from contextlib import suppress
from pathlib import Path

from engines.errors import EngineError

SERVICE = Path("/var/cache/hypnod/plans")
"""Where the unit systemd/hypnod.service has it."""


def plan_folder() -> Path:
    """Return where plans are kept: systemd's CacheDirectory, else the user's cache."""
    if by_systemd := os.environ.get("CACHE_DIRECTORY"):
        return Path(by_systemd.split(":")[0]) / "plans"
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "hypnod" / "plans"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is there whole, or as it was before.

    Raises:
        EngineError: it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(content)
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise EngineError(
            f"expected a folder for plans that can be written to, found: {error}"
        ) from error
