"""The way in: the command `hypnod`, `python -m hypnod`, and every process that hypnod starts.

`daemon`, `engines`, `models` and `tools` are common names, and a lab has a `tools` of its own. So
the folder of this file, in which ours lie, goes first on the path as soon as this is imported,
and what bears one of these names from elsewhere is no longer imported under it.
"""

import importlib
import importlib.util
import os
import runpy
import sys
from collections.abc import Iterable
from pathlib import Path

HOME = Path(__file__).resolve().parent
"""The folder with our packages: the checkout, or site-packages."""
_PACKAGES = ("daemon", "engines", "models", "tools")
_STDERR = 2


def command(*arguments: str) -> list[str]:
    """Return what starts `hypnod` with these arguments, whatever the folder and the environment.

    `command("-m", "tools.bench.floor", …)` runs a module of ours as `python -m` does.
    """
    return [sys.executable, str(HOME / "hypnod.py"), *arguments]


def main() -> None:
    """Run the command line; where another package is in the way, say so, with exit code 2."""
    _open_streams()
    if obstacle := _find_obstacle():
        sys.stderr.write(f"hypnod: {obstacle}\n")
        sys.exit(2)
    # products are small here: a second thread of numpy's OpenBLAS would spin for 35 ms after each
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if sys.argv[1:2] == ["-m"]:
        del sys.argv[:2]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:  # by name, since the tools import this module
        importlib.import_module("tools.cli").main()


def _open_streams() -> None:
    """Put nothing in the place of standard streams that are closed.

    The next file that is opened would get their numbers, and what is printed.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(_STDERR, "w", encoding="utf-8", closefd=False)


def _come_first() -> None:
    """Put our folder first on the path, and let go of what was imported under our names."""
    sys.path[:] = [str(HOME), *(folder for folder in sys.path if folder != str(HOME))]
    foreign = {
        name
        for name in _PACKAGES
        if name in sys.modules
        and not _is_ours(name, getattr(sys.modules[name], "__path__", None) or ())
    }
    for name in [name for name in sys.modules if name.partition(".")[0] in foreign]:
        del sys.modules[name]


def _find_obstacle() -> str:
    """Say which folder is imported under one of our names; nothing when ours is."""
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name)
        places = [] if spec is None else [*(spec.submodule_search_locations or [spec.origin or ""])]
        if not _is_ours(name, places):
            return (
                f"expected to import {name} from {HOME}, found {places[0] if places else 'none'} "
                "in the way; start hypnod without the import hook that brings it (a sitecustomize, "
                "a .pth file or an editable install), best in a venv of its own"
            )
    return ""


def _is_ours(name: str, places: Iterable[str]) -> bool:
    return HOME / name in (Path(place).resolve() for place in places)


_come_first()

if __name__ == "__main__":
    main()
