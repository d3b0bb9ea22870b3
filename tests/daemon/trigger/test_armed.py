"""What is armed, where it cannot be written."""

import resource
from contextlib import contextmanager, nullcontext

import pytest
from structlog.testing import capture_logs

from daemon.errors import ArmedError
from daemon.trigger.armed import ArmedFile, read_armed, write_armed


@contextmanager
def no_room():
    """As on a full disk: no file of this process can grow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_on_a_full_disk_everything_can_be_disarmed_and_nothing_armed(tmp_path):
    path = tmp_path / "journal.sqlite.armed"
    write_armed(path, {"rem": ("m1",)})
    with no_room(), pytest.raises(ArmedError, match="see that there is room") as found:
        write_armed(path, {"rem": ("m1", "m2")})
    assert "to disarm everything needs none" in str(found.value)
    assert read_armed(path) == {"rem": ("m1",)}
    with no_room():
        write_armed(path, {})
    assert read_armed(path) == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("room", [True, False])
def test_only_what_the_rules_remember_of_stays_armed(tmp_path, room):
    path = tmp_path / "journal.sqlite.armed"
    write_armed(path, {"rem": ("m1", "m2"), "nrem": ("m1",)})
    with capture_logs(), nullcontext() if room else no_room():
        ArmedFile(path).forget({("rem", "m2")})
    assert read_armed(path) == ({"rem": ("m2",)} if room else {})
