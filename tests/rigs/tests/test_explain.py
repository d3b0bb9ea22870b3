"""The rig that holds explanations against what was planted finds it where it lies."""

import numpy as np
import pytest

from models.simulator.recording import Event
from tests.rigs.explain.weights import SOUGHT, Weighed, hold, summarise
from tools.explain.explanation import Band, Explanation, Part, Slot

SPINDLE = Event(1.5, 0.8, "spindle")  # in the second and third of four seconds


def explanation(file="a", there=2.0, theta=0.0):
    def part(i):
        found = there if i in (1, 2) else 1.0
        ends = {"name": str(i), "start_s": float(i), "stop_s": i + 1.0}
        return Part(**ends, attention=found, undifferenced=1.0, support=0.1 * found)

    def band(low):
        support = theta if low in (6.0, 8.0) else 0.0
        return Band(
            modality="eeg", name="", low_hz=low, high_hz=low + 2, level=0.0, support=support
        )

    return Explanation(
        file=file,
        subject="s1",
        model="m",
        kind="final",
        onset_s=0.0,
        clock=None,
        epoch_s=4.0,
        stage="N2",
        probabilities={},
        evidence={},
        pathway="mixed",
        validity={"eeg": "ok", "eog": "ok"},
        slot=0,
        window=(Slot(onset_s=0.0, stage="N2", valid={}, attention=1.0, support=1.0),),
        parts={"eeg": tuple(map(part, range(4)))},
        bands=tuple(map(band, (4.0, 6.0, 8.0, 10.0))),
        modalities={},
    )


def test_a_span_holds_a_wave_if_a_good_part_of_it_lies_there():
    assert hold(explanation(), [SPINDLE]).tolist() == [False, True, True, False]
    assert hold(explanation(), [Event(1.9, 0.8, "spindle")]).tolist() == [False, False, True, False]
    assert not hold(explanation(), []).any()


def test_weight_on_the_wave_is_told_from_weight_elsewhere():
    holds = np.array([False, True, True, False])
    weighed = [Weighed(explanation("a", 2.0), holds), Weighed(explanation("b", 0.5), holds)]
    attention, plain, gain, support, _ = summarise(weighed, SOUGHT["human"])
    assert (attention.there, attention.elsewhere, attention.more) == (1.25, 1.0, 0.5)
    assert (attention.epochs, attention.subjects, attention.subjects_with_more) == (2, 2, 1)
    assert plain.there == plain.elsewhere == 1.0
    assert gain.there == pytest.approx(0.25)
    assert support.there == pytest.approx(0.125)


def test_weight_on_theta_is_told_from_weight_on_other_bands():
    nothing = np.zeros(4, bool)
    [row] = summarise([Weighed(explanation(theta=0.4), nothing)], SOUGHT["mouse"])
    assert (row.there, row.elsewhere, row.more) == (0.4, 0.0, 1.0)
