"""A daemon of a few lines for who shows one: it says an epoch of every subject, over and over."""

import threading
import time

from daemon.messages import Features, Heartbeat
from tests.support.nights import iso, stage, state, trace, trigger
from tests.support.speaker import ANYWHERE, Speaker

TURN_S = 0.1
KINDS = ("live", "final")
FEATURES = Features(eeg_db=(10.0, 20.0, *[5.0] * 18), emg_db=12.3)
RULE = "rem-restriction"


class Talker(threading.Thread):
    """Speaks from a thread of its own until it is closed; may go on `after` another one.

    Attributes:
        changes: fields of what is said next, by subject; None: nothing is said of it.
        ready: set once it listens.
        viewed: whose traces somebody subscribed to.
    """

    def __init__(self, path, names, *, rules=True, past=0, state="STAGING", after=None):
        super().__init__(daemon=True)
        self._path, self.names, self._rules = path, names, rules
        self.past = past
        self.state = state
        self.changes = {}
        self.troubles = {}
        self.viewed = []
        self.binds = after.binds if after else (ANYWHERE, ANYWHERE)
        self.seq = after.seq if after else past
        self.ready, self._ending = threading.Event(), threading.Event()
        self.start()
        assert self.ready.wait(20)

    def run(self):
        with Speaker(self._path, subjects=self.names, binds=self.binds) as speaker:
            self.binds = speaker.binds
            subjects = tuple(self.names)
            speaker.say(state(self.seq, self.state, subjects=subjects, reason="as it is said"))
            begin = time.time() - self.past
            for name in self.names:
                for kind in KINDS:
                    epochs = [self._stage(name, k, begin + k, kind) for k in range(self.past)]
                    speaker.say(*epochs, aloud=False)
            self.ready.set()
            while not self._ending.wait(TURN_S):
                for name in self.names:
                    if self.changes.get(name, {}) is not None:
                        self._say(speaker, name, self.seq)
                self.seq += 1
                self._beat(speaker)

    def _say(self, speaker, name, seq):
        now = time.time()
        if self._rules:
            decided = trigger(seq, subject=name, rule=RULE, utc=iso(now))
            speaker.say(decided, journal=False)
        estimates = [self._stage(name, seq, now - 1, kind) for kind in KINDS]
        speaker.say(*estimates)
        if (news := speaker.viewers.news()) is not None:
            self.viewed = news
        if name in self.viewed:
            told = {"utc": iso(now - 1), "span_s": TURN_S}
            speaker.publisher.publish(trace(seq, name, **told))

    def _stage(self, name, seq, onset, kind):
        fields = {"utc": iso(onset), "published_utc": iso(onset + 1), "drift": 0.4}
        found = {"Wake": 0.1, "NREM": 0.85, "REM": 0.05}
        evidence = {"Wake": 0.2, "NREM": 0.6, "REM": 0.2}
        fields |= {"probabilities": found, "evidence": evidence, "confidence": 0.85}
        if kind == "live":
            fields["features"] = FEATURES
        return stage(seq, name, kind, **(fields | (self.changes.get(name) or {})))

    def _beat(self, speaker):
        speaker.publisher.publish(
            Heartbeat(
                session=speaker.name,
                seq=speaker.beats,
                utc=iso(time.time()),
                uptime_s=1.0,
                states={"cage": self.state},
                version="0.1.0",
                troubles=self.troubles,
                newest=speaker.newest,
            )
        )
        speaker.beats += 1
        speaker.publisher.serve(0)

    def close(self):
        self._ending.set()
        self.join()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
