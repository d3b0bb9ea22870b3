"""The picture of what a decision rests on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engines.bundle import open_bundle
from models.recordings.base import ArrayRecording
from models.weights import load_model
from tests.support.bundles import TINY, human_levels, human_spec, make_bundle, make_bundle_of
from tests.tools.explain.test_computing import decision_of
from tools.explain.computing import explain
from tools.view.explanation import draw_explanation, plot_explanation

MADE = {
    "mouse levels": lambda folder: make_bundle(folder, 5, levels=True, **TINY),
    "people samples": lambda folder: make_bundle_of(human_spec(), folder),
    "people levels": lambda folder: make_bundle_of(human_levels(), folder),
}


def explained(folder, which, mask=None):
    """Return the explanation of a decision on noise, with what the picture needs beside it."""
    bundle = open_bundle(MADE[which](folder))
    net = load_model(bundle.path)
    decision = decision_of(net, mask=mask)
    noise = np.random.default_rng(0).normal(0, 30, decision.microvolts.shape)
    decision = replace(decision, microvolts=noise.astype(np.float32))
    recording = ArrayRecording.of_microvolts("n.edf", ("EEG",), 128.0, np.zeros((9, 1), np.float32))
    return explain(decision, net, bundle, recording), decision, net.spec


def texts(figure):
    found = [t.get_text() for t in figure.texts]
    return [*found, *(t.get_text() for axis in figure.axes for t in axis.texts)]


@pytest.mark.parametrize("which", MADE)
def test_the_picture_shows_what_there_is_to_show(tmp_path, which):
    explanation, decision, spec = explained(tmp_path, which)
    said = texts(draw_explanation(explanation, decision, spec))
    assert any(t.startswith(f"Why {explanation.stage} at 0:00:09 after") for t in said)
    inside = ("which spans count" in said, "which levels count" in said)
    assert (
        inside
        == {
            "mouse levels": (False, True),
            "people samples": (True, False),
            "people levels": (True, True),
        }[which]
    )


def test_masked_slots_are_hatched_and_the_file_is_a_picture(tmp_path):
    explanation, decision, spec = explained(tmp_path, "people samples", mask_of_first(2))
    figure = draw_explanation(explanation, decision, spec)
    hatched = [c for c in figure.axes[0].collections if c.get_hatch()]
    assert len(hatched) == 2
    path = Path(tmp_path / "why.png")
    plot_explanation(path, explanation, decision, spec)
    assert path.read_bytes().startswith(b"\x89PNG")


def mask_of_first(n):
    mask = np.ones((human_spec().n_context, 2), bool)
    mask[:n] = False
    return mask
