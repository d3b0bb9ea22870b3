"""What is said of a source's timestamps."""

import numpy as np
import pytest

from daemon.metrics import Metrics
from daemon.watch.timestamps import TimestampWatch
from models.signal.clock.timeline import Timeline

SFREQ = 128.0
MINUTES = 21


@pytest.mark.parametrize(
    "stamp",
    [
        np.zeros_like,
        lambda time: -time,
        lambda time: np.float32(1.8e9 + time).astype(float),
        lambda time: (1.8e9 + time) / 86400,
    ],
    ids=["never", "backwards", "single", "days"],
)
def test_a_clock_that_does_not_run_is_said_at_times(stamp):
    said = []
    timeline = Timeline(SFREQ, 0.02)
    watch = TimestampWatch("cage", 0.02, Metrics(), said.append)
    for i in range(MINUTES * 60 * 10):
        time = (i + np.arange(13) / 13) / 10
        timeline.place(stamp(time), 0.1 * i)
        watch.look(timeline, len(time))
    again = [what for what in said if "was set 6 times within 60 s" in what]
    assert 1 <= len(again) <= 3
    assert 5 <= len(said) <= 5 + MINUTES
