import re
from contextlib import ExitStack

import numpy as np
import pytest
from structlog.testing import capture_logs

from daemon.metrics import Metrics
from daemon.notify import Notifier
from daemon.outbox import Outbox
from daemon.state import StateWriter
from daemon.watch.drift import DriftWatch
from tests.support.signals import stream_config

CONFIRM = 60


class Watched:
    """A watch of two subjects, and all that it says."""

    def __init__(self, stack, hop_s=1.0):
        config, self.metrics, self.notes = stream_config(2), Metrics(), []
        notifier = Notifier({})
        stack.callback(notifier.close)
        self.states = StateWriter((config,), "s", Outbox(), self.metrics, notifier)
        self.watch = DriftWatch(
            config, ("eeg", "emg"), hop_s, self.metrics, self.states, self.notes.append
        )

    def look(self, value, n=CONFIRM):
        """Let the EMG of m2 have this drift for n epochs; nothing is known of m1."""
        with capture_logs() as logs:
            for _ in range(n):
                self.watch.look(
                    np.array([[np.nan, np.nan], [0.5, value]]), lambda s, m: f"why {s} {m}"
                )
        return logs

    def gauge(self, subject, modality):
        labels = {"stream": "cage", "subject": subject, "modality": modality}
        return self.metrics.registry.get_sample_value("hypnod_drift_ratio", labels)


@pytest.fixture
def watched():
    with ExitStack() as stack:
        yield Watched(stack)


def test_the_gauge_shows_what_is_known(watched):
    watched.look(1.25, n=1)
    assert watched.gauge("m2", "emg") == 1.25
    assert watched.gauge("m2", "eeg") == 0.5
    assert watched.gauge("m1", "eeg") is None
    watched.look(np.nan, n=1)
    assert watched.gauge("m2", "emg") == 1.25


def test_it_is_said_once_that_an_animal_is_beyond_the_limit_and_once_that_it_is_not(watched):
    assert not watched.look(1.5, CONFIRM - 1)
    (entry,) = watched.look(1.6, CONFIRM)
    assert entry["log_level"] == "warning"
    assert (entry["subject"], entry["modality"], entry["drift"]) == ("m2", "emg", 1.6)
    assert entry["why"] == "why 1 1"
    assert re.match("emg of m2 looks unlike .* 1.60 times the limit", watched.notes[0])
    assert "emg of m2: looks unlike" in watched.states._describe()
    assert not watched.look(0.95)  # within the limit, but only just
    (entry,) = watched.look(0.8)
    assert entry["log_level"] == "info"
    assert "looks like what the model was trained on again" in watched.notes[1]
    assert "m2" not in watched.states._describe()
    assert not watched.look(0.8)
    assert len(watched.notes) == 2


def test_a_moment_beyond_the_limit_is_not_worth_a_word(watched):
    for _ in range(3):
        assert not watched.look(2.0, CONFIRM - 1)
        assert not watched.look(0.99, 1)


def test_a_minute_is_a_minute_whatever_the_hop():
    with ExitStack() as stack:
        watched = Watched(stack, hop_s=4.0)
        assert not watched.look(2.0, CONFIRM // 4 - 1)
        assert len(watched.look(2.0, 1)) == 1
