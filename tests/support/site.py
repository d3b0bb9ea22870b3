"""A publisher behind a gate, with the keys of everybody who comes to it."""

import time
from collections import Counter

from daemon.config import PublishConfig, SecurityConfig
from daemon.messages import Heartbeat
from daemon.sockets.gate import Gate
from daemon.sockets.keys import ClientKeys, write_pair
from daemon.sockets.publisher import Publisher
from tools.client.subscriber import Subscriber

TIMEOUT_S = 20.0
LOCAL = PublishConfig(bind="tcp://127.0.0.1:*")


def heartbeat(seq):
    return Heartbeat(
        session="s",
        seq=seq,
        utc="2026-01-01T00:00:00.000+00:00",
        uptime_s=1.0,
        states={},
        version="0",
    )


class Site:
    """A secured publisher in this process, and everybody who comes to it."""

    def __init__(self, folder, stack):
        self.keys, self.clients, self._stack = folder / "keys", folder / "clients", stack
        self.clients.mkdir()
        _, self.secret = write_pair(self.keys, "hypnod")
        self.allow("good")
        self.config = SecurityConfig(clients=str(self.clients), secret_key=str(self.secret))
        self.refused = Counter()
        self.gate = stack.enter_context(Gate(self.config, self.count))
        self.publisher = stack.enter_context(Publisher(LOCAL, self.gate))
        self.n_published = 0

    def count(self, reason):
        self.refused[reason] += 1

    def make(self, name):
        if not (self.keys / f"{name}.key").exists():
            write_pair(self.keys, name)
        return ClientKeys.read(self.keys / "hypnod.key", self.keys / f"{name}.key_secret")

    def allow(self, name):
        self.make(name)
        (self.clients / f"{name}.key").write_bytes((self.keys / f"{name}.key").read_bytes())

    def connect(self, keys):
        return self._stack.enter_context(Subscriber(self.publisher.endpoint, keys=keys))

    def serve_until(self, done):
        deadline = time.monotonic() + TIMEOUT_S
        while not done():
            assert time.monotonic() < deadline, f"refused {self.refused}"
            self.publisher.serve(0.005)
            self.gate.serve()

    def publish(self, n):
        for _ in range(n):
            self.publisher.publish(heartbeat(self.n_published))
            self.n_published += 1

    def hear(self, subscriber, n):
        """Serve until a subscriber heard n more messages; return their numbers."""
        heard = []

        def listen():
            heard.extend(received.message.seq for received in subscriber.receive(0))
            return len(heard) >= n

        self.serve_until(listen)
        return heard
