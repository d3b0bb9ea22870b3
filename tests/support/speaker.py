"""The daemon's way out without the rest of it: into the journal, then to who listens."""

import time
from contextlib import ExitStack

from daemon.config import JournalConfig, PublishConfig, SecurityConfig
from daemon.journal.writer import Journal
from daemon.messages import Heartbeat
from daemon.metrics import Metrics
from daemon.sockets.catchup import CatchUp
from daemon.sockets.gate import Gate
from daemon.sockets.publisher import Publisher
from daemon.sockets.viewers import Viewers
from tests.support.nights import EVENING, iso, session, stage
from tests.support.paths import ROOT
from tools.client.follower import Follower

TIMEOUT_S = 20.0
ANYWHERE = "tcp://127.0.0.1:*"


class Speaker:
    """Writes messages into a journal, publishes them, and answers who missed some."""

    def __init__(
        self, path, name="s", high_water_mark=100_000, binds=(ANYWHERE, ANYWHERE), subjects=()
    ):
        self.name, self.beats = name, 0
        self.stack = ExitStack()
        config = PublishConfig(
            bind=binds[0], catchup_bind=binds[1], high_water_mark=high_water_mark
        )
        gate = self.stack.enter_context(Gate(SecurityConfig()))
        self.journal = self.stack.enter_context(Journal(JournalConfig(path=str(path)), Metrics()))
        self.journal.begin(session(name))
        self.viewers = Viewers(subjects)
        self.publisher = self.stack.enter_context(Publisher(config, gate, self.viewers))
        self.catch_up = self.stack.enter_context(CatchUp(config, path, gate))
        self.binds = (self.publisher.endpoint, self.catch_up.endpoint)
        self.said = []
        self.newest = {}

    def say(self, *messages, journal=True, aloud=True):
        self.journal.retry()
        if journal:
            self.journal.write(messages)
        for message in messages:
            self.said.append(message)
            self.newest[message.topic] = message.seq
            if aloud:
                self.publisher.publish(message)
        self.publisher.serve(0)

    def beat(self, newest=None):
        newest = newest or self.newest
        message = Heartbeat(
            session=self.name,
            seq=self.beats,
            utc=iso(EVENING),
            uptime_s=0.0,
            states={},
            version="",
            newest=newest,
        )
        self.beats += 1
        self.publisher.publish(message)

    def stages(self, first, last, subject="m1"):
        """Epochs of a subject, as they would be said."""
        return [stage(seq, subject, session=self.name) for seq in range(first, last)]

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stack.close()


def follow(speaker, binds=None, **options):
    """Follow a speaker, by other ways to its two sockets if need be."""
    published, asked = binds or speaker.binds
    options = {"prefixes": ["stage.", "stream."], "catch_up": asked, **options}
    return Follower(published, **options)


def join(speaker, follower):
    """Wait until a follower's subscription to stages is there: it hears a former one again."""
    speaker.publisher.publish(stage(0, "nobody", kind="final", session=speaker.name))
    hear(speaker, follower, lambda message: getattr(message, "subject", "") == "nobody")


def hear(speaker, follower, until, beating=False):
    """Serve the socket, and beat, until a message was heard; return all heard until then."""
    heard = []
    deadline = time.monotonic() + TIMEOUT_S
    while not any(until(m) for m in heard):
        assert time.monotonic() < deadline, f"heard {heard[-3:]}"
        speaker.publisher.serve(0)
        if beating:
            speaker.beat()
        heard += [received.message for received in follower.receive(0.02)]
    return heard


def is_seq(seq, topic="stage.m1.live"):
    return lambda message: message.seq == seq and message.topic == topic


def documented_example(published, asked):
    """Return the client of docs/catchup.md up to its loop, for these two endpoints."""
    page = (ROOT / "docs" / "catchup.md").read_text("utf-8")
    code = page.split("```python\n")[1].split("for message in follow(")[0]
    for port, endpoint in ((5570, published), (5571, asked)):
        assert f"tcp://127.0.0.1:{port}" in code
        code = code.replace(f"tcp://127.0.0.1:{port}", endpoint)
    return code
