"""What every test shares. LSL is confined here, before anything loads liblsl."""

import atexit
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.rigs.forked import forked_children
from tests.support.paths import DATA
from tools.daemon_process import confined_lsl


def _confine() -> None:
    """Keep this process and its children from every other one's streams, and from a user's journal.

    liblsl reads its config once, at its first use: hence at import, not in a fixture. Streams of
    another session are invisible, so workers and other users of the machine do not meet. A journal
    in the home folder of who runs the tests may be of another format.
    """
    folder = Path(tempfile.mkdtemp(prefix="hypnod-lsl-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ.update(confined_lsl(folder), XDG_STATE_HOME=str(folder))


class _Missing:
    """Skips what imports a package that training alone needs, where there is none."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name in ("torch", "safetensors"):
            pytest.skip(f"{name} is not installed", allow_module_level=True)


sys.meta_path.append(_Missing)  # the last one to be asked
_confine()
settings.register_profile("hypnod", deadline=None)  # no test asserts a time
settings.load_profile("hypnod")
# a shell starts its background jobs with SIGINT ignored, which every process here would inherit
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # xdist's workers share the processor already


@pytest.fixture(scope="module", name="forked_children")
def _forked_children() -> Iterator[None]:
    """Fork the daemons and replays that the tools under test start: see `tests.rigs.forked`."""
    with forked_children():
        yield


@pytest.fixture
def scheduler() -> Iterator[str]:
    """Where a worker can be had that is a thread of this process: one apart loads torch for 5 s.

    What it is sent is packed as for any other. It ends with the test, since it draws from `random`,
    and Hypothesis takes that for a strategy that does.
    """
    # Here, not above: most tests need none.
    from distributed import LocalCluster  # noqa: PLC0415

    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",  # any: other suites may run here
        silence_logs=50,
    ) as started:
        yield started.scheduler_address


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of shared recordings beside the checkout, or skip."""
    if not DATA.is_dir():
        pytest.skip(f"needs the shared recordings in {DATA}")
    return DATA
