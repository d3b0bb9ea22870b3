"""The unit files, as systemd's own tools read it, and what the daemon tells systemd."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import uuid

import pytest
from prometheus_client.parser import text_string_to_metric_families

from daemon.errors import AddressError, JournalError, KeyFileError
from engines.errors import EngineError
from models.errors import ConfigError, StreamError
from tests.rigs.daemon import TIMEOUT_S, Daemon, one_stream
from tests.rigs.lsl import Source
from tests.support.bundles import TINY, make_bundle
from tests.support.paths import ROOT
from tests.support.signals import noise
from tools.pulse.errors import OutputError

CREDENTIAL = "hypnod-web.token"

UNIT, PULSE_UNIT, WEB_UNIT, NOTIFY_UNIT = (
    ROOT / "systemd" / f"{name}.service"
    for name in ("hypnod", "hypnod-pulse", "hypnod-web", "hypnod-notify")
)
INSTALLED = "/opt/hypnod/.venv/bin/hypnod"
MAX_EXPOSURE = {UNIT: 1.5, PULSE_UNIT: 1.6, WEB_UNIT: 1.3, NOTIFY_UNIT: 1.3}
"""Of 10; `hypnod pulse` opens serial ports."""


@pytest.fixture
def analyze(tmp_path):
    """Run systemd-analyze on a unit, with a program that exists here."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze, of Debian's package systemd")
    for unit in MAX_EXPOSURE:
        text = unit.read_text("utf-8").replace(INSTALLED, sys.executable)
        (tmp_path / unit.name).write_text(text, "utf-8")
    return lambda unit, *arguments: subprocess.run(
        ["systemd-analyze", *arguments, str(tmp_path / unit.name)],
        capture_output=True,
        check=False,
        text=True,
        env={**os.environ, "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""},
    )


def settings(section, unit=UNIT):
    """Return a unit's settings of a section, in order; a key may come often."""
    text = unit.read_text("utf-8").partition(f"[{section}]\n")[2].partition("\n[")[0]
    return [tuple(line.split("=", 1)) for line in text.splitlines() if re.match(r"\w+=", line)]


@pytest.mark.parametrize("unit", MAX_EXPOSURE, ids=lambda unit: unit.stem)
def test_the_unit_is_understood(analyze, unit):
    found = analyze(unit, "verify", "--man=no")
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


@pytest.mark.parametrize("unit", MAX_EXPOSURE, ids=lambda unit: unit.stem)
def test_the_unit_exposes_little(analyze, unit):
    found = analyze(unit, "security", "--offline=true", "--no-pager")
    assert found.returncode == 0
    level = rf"Overall exposure level for {re.escape(unit.name)}: (\d+\.\d)"
    assert float(re.search(level, found.stdout)[1]) <= MAX_EXPOSURE[unit], found.stdout


def test_hypnod_pulse_may_open_a_serial_port_and_is_started_again_when_one_fails():
    service = settings("Service", PULSE_UNIT)
    assert ("SupplementaryGroups", "dialout") in service
    assert [v for k, v in service if k == "DeviceAllow"] == ["char-ttyACM rw", "char-ttyUSB rw"]
    assert not {"PrivateDevices", "PrivateUsers"} & {key for key, _ in service}
    prevented = set(map(int, dict(service)["RestartPreventExitStatus"].split()))
    assert prevented == {2, ConfigError.exit_code, KeyFileError.exit_code}
    assert OutputError.exit_code not in prevented


def test_the_page_has_its_token_from_systemd_and_is_started_again():
    service = dict(settings("Service", WEB_UNIT))
    assert service["LoadCredential"] == CREDENTIAL
    assert set(service["RestartPreventExitStatus"].split()) == {"2", str(ConfigError.exit_code)}


def test_a_gpu_and_the_network_interfaces_stay_visible():
    service = dict(settings("Service"))
    assert "PrivateDevices" not in service
    assert "ProcSubset" not in service
    assert "MemoryDenyWriteExecute" not in service
    assert service["DeviceAllow"] == "char-nvidia* rw"
    assert "AF_NETLINK" in service["RestrictAddressFamilies"].split()


@pytest.mark.parametrize("unit", MAX_EXPOSURE, ids=lambda unit: unit.stem)
def test_zeromq_may_set_the_scheduling_of_its_threads(unit):
    """Without, libzmq aborts the process: its thread.cpp asserts that sched_setscheduler works."""
    filters = [value for key, value in settings("Service", unit) if key == "SystemCallFilter"]
    assert filters == ["@system-service", "~@privileged"]


def test_only_what_no_restart_mends_is_not_tried_again():
    service = dict(settings("Service"))
    prevented = set(map(int, service["RestartPreventExitStatus"].split()))
    errors = (ConfigError, KeyFileError, JournalError)
    assert prevented == {2, *(error.exit_code for error in errors)}
    tried_again = {1, EngineError.exit_code, StreamError.exit_code, AddressError.exit_code}
    assert not prevented & tried_again


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle"), n_context=5, **TINY)


@pytest.fixture
def systemd(tmp_path):
    """The service manager's end of the notify socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "notify"))
        server.settimeout(TIMEOUT_S)
        yield server


@pytest.fixture
def name():
    return f"systemd-{uuid.uuid4().hex}"


def environ(systemd):
    """What systemd sets in the environment of the service."""
    return {"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "400000"}


def until(systemd, pattern):
    """Wait until systemd is told something."""
    while not re.fullmatch(pattern, said := systemd.recv(4096).decode()):
        pass
    return said


def test_the_status_says_what_is_staged_and_what_is_not(name, systemd, bundle, tmp_path):
    streams = one_stream(f"{name}-cage") + one_stream(f"{name}-den", "den", "m2")
    with (
        Source(f"{name}-cage", sfreq=512) as cage,
        Daemon(
            tmp_path, streams, bundle, environ=environ(systemd), more="[staging]\nstall_s = 0.5"
        ),
    ):
        missing = rf"den: no stream with name='{name}-den' is visible since \d\d:\d\d UTC"
        until(systemd, rf"STATUS=staging 1 of 2 streams, 1 of 2 subjects; {missing}")
        cage.push(512, data=noise(512))
        silent = r"cage: connected, but no samples since \d\d:\d\d UTC"
        until(systemd, rf"STATUS={silent}; {missing}")
        with Source(f"{name}-den", sfreq=512):
            until(systemd, rf"STATUS=staging 1 of 2 streams, 1 of 2 subjects; {silent}")


def test_a_hung_main_loop_does_not_feed_the_watchdog(name, systemd, bundle, tmp_path):
    hang = tmp_path / "hang"
    arguments = ("-m", "tests.rigs.hanging_daemon", str(hang))
    with Daemon(
        tmp_path, one_stream(name), bundle, environ=environ(systemd), arguments=arguments
    ) as daemon:
        daemon.listen()
        until(systemd, "WATCHDOG=1")
        hang.touch()
        while tick_age(daemon) < 1.0:
            pass
        unread(systemd)
        while tick_age(daemon) < 2.0:
            pass
        assert unread(systemd) == []


def tick_age(daemon):
    """How long ago the last tick was, s; the listener of the metrics answers in any case."""
    families = text_string_to_metric_families(daemon.get("/metrics")[1])
    samples = {s.name: s.value for family in families for s in family.samples}
    return time.time() - samples["hypnod_last_tick_timestamp_seconds"]


def unread(systemd):
    """Return what was said and not read yet."""
    said = []
    systemd.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            said.append(systemd.recv(4096).decode())
    return said
