import contextlib
import os
import socket

import pytest

from daemon.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def systemd(request, tmp_path):
    address = str(tmp_path / "notify") if request.param == "path" else f"@hypnod-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(address.replace("@", "\0"))
        server.settimeout(10)
        yield server, {"NOTIFY_SOCKET": address}


def test_systemd_is_told(systemd):
    server, environ = systemd
    notifier = Notifier(environ)
    notifier.ready()
    notifier.status("cage STAGING")
    notifier.stopping()
    said = [server.recv(1024) for _ in range(3)]
    assert said == [b"READY=1", b"STATUS=cage STAGING", b"STOPPING=1"]
    notifier.close()


def test_the_watchdog_is_fed_some_times_an_interval(systemd):
    server, environ = systemd
    notifier = Notifier(environ | {"WATCHDOG_USEC": "8000000", "WATCHDOG_PID": str(os.getpid())})
    for now in (100.0, 100.5, 101.9, 102.0, 103.9, 104.1):
        notifier.beat(now)
    notifier.status("end")
    said = [server.recv(1024) for _ in range(4)]
    assert said == [b"WATCHDOG=1", b"WATCHDOG=1", b"WATCHDOG=1", b"STATUS=end"]
    notifier.close()


def test_another_process_watchdog_is_not_fed(systemd):
    server, environ = systemd
    notifier = Notifier(environ | {"WATCHDOG_USEC": "8000000", "WATCHDOG_PID": "1"})
    notifier.beat(100.0)
    notifier.status("end")
    assert server.recv(1024) == b"STATUS=end"
    notifier.close()


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/nowhere/notify"}])
def test_without_systemd_nothing_happens(environ):
    notifier = Notifier(environ)
    notifier.ready()
    notifier.beat(0.0)
    notifier.close()


def test_a_busy_service_manager_is_told_when_it_listens_again(systemd):
    server, environ = systemd
    notifier = Notifier(environ | {"WATCHDOG_USEC": "8000000"})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                other.sendto(b"from another service", server.getsockname())
    notifier.ready()
    notifier.beat(100.0)
    while server.recv(1024, socket.MSG_PEEK) == b"from another service":
        server.recv(1024)
        notifier.beat(100.1)
    assert [server.recv(1024) for _ in range(2)] == [b"READY=1", b"WATCHDOG=1"]
    notifier.close()
