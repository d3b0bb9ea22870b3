"""`python -m tests.rigs.floods.attack KIND PUBLISH CATCH_UP METRICS`: one client against a daemon.

It goes on until it is killed, and comes back when it is cut off.
"""

import random
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
N_HALF_OPEN, N_SLOW, A_SECOND = 800, 200, 1000
_PAUSE_S = 0.02


def _connect(endpoint: str) -> socket.socket:
    host, _, port = endpoint.rpartition("://")[2].rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10.0)


def _frame(content: bytes, flags: int = 0) -> bytes:
    return bytes([flags, len(content)]) + content


def _shake_hands(endpoint: str, kind: bytes) -> socket.socket:
    """Return a connection that has spoken ZMTP 3.0 up to its READY."""
    client = _connect(endpoint)
    ready = b"\x05READY\x0bSocket-Type" + len(kind).to_bytes(4, "big") + kind
    client.sendall(GREETING + _frame(ready, flags=4))
    client.recv(4096)
    return client


def subscriptions(publish: str, _catch_up: str, _metrics: str) -> None:
    """Subscribe to another topic, without a pause."""
    client = _shake_hands(publish, b"SUB")
    n = 0
    while True:
        client.sendall(b"".join(_frame(b"\x01stage.%d" % k) for k in range(n, n + 1000)))
        n += 1000


def requests(_publish: str, catch_up: str, _metrics: str) -> None:
    """Ask for a night, without a pause, and take no answer."""
    client = _shake_hands(catch_up, b"DEALER")
    request = b'{"topic": "stage.m1.live"}'
    while True:
        client.sendall(_frame(request) * 1000)


def garbage(publish: str, catch_up: str, metrics: str) -> None:
    """Send random bytes everywhere, to new connections and to greeted ones."""
    noise = random.Random(0)
    for endpoint in (publish, catch_up, metrics):
        with suppress(OSError), _connect(endpoint) as client:
            client.sendall(noise.randbytes(65536))
        with suppress(OSError), _shake_hands(endpoint, b"SUB") as client:
            client.sendall(noise.randbytes(65536))


def half_open(publish: str, catch_up: str, metrics: str) -> None:
    """Hold hundreds of connections, and say nothing."""
    ends = [publish, catch_up, metrics]
    held = []
    with suppress(OSError):
        held += [_connect(ends[k % 3]) for k in range(N_HALF_OPEN)]
    time.sleep(1.0)
    for client in held:
        client.close()


def slow_http(_publish: str, _catch_up: str, metrics: str) -> None:
    """Ask for the metrics a byte at a time, and again and again in one go."""
    held = [_connect(metrics) for _ in range(N_SLOW)]
    for byte in b"GET /metrics":
        for client in held:
            with suppress(OSError):
                client.send(bytes([byte]))
        for _ in range(20):
            with suppress(OSError), _connect(metrics) as client:
                client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
    for client in held:
        client.close()


def crowd(publish: str, _catch_up: str, _metrics: str) -> None:
    """Come, subscribe to everything and go, a thousand times a second."""
    began = time.monotonic()
    for k in range(A_SECOND):
        with _connect(publish) as client:
            ready = b"\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB"
            client.sendall(GREETING + _frame(ready, flags=4) + _frame(b"\x01"))
        time.sleep(max(0.0, began + (k + 1) / A_SECOND - time.monotonic()))


KINDS: dict[str, Callable[[str, str, str], None]] = {
    each.__name__: each for each in (subscriptions, requests, garbage, half_open, slow_http, crowd)
}


def main() -> None:
    """Attack without an end."""
    kind, *endpoints = sys.argv[1:]
    while True:
        with suppress(OSError):
            KINDS[kind](*endpoints)
        time.sleep(_PAUSE_S)


if __name__ == "__main__":
    main()
