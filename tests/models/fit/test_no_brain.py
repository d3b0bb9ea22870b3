import re

import msgspec
import numpy as np
import pytest

from models.fit import no_brain
from models.signal.no_brain import RULE_FILES, NoBrainRule, read_rule

SHORT = ["no_brain", "--subjects", "4", "--hours", "0.02", "--wires", "24", "--processes", "1"]


def test_a_rule_of_a_few_short_mice_and_wires_tells_them_apart(tmp_path, monkeypatch):
    out = tmp_path / "rule.json"
    monkeypatch.setattr("sys.argv", [*SHORT, "--out", str(out)])
    no_brain.main()
    rule = msgspec.json.decode(out.read_bytes(), type=NoBrainRule)
    assert rule.source == "4 widened simulated mice of 0.02 h, 24 wires without a brain of 40 s"
    brains = no_brain.measure_subject("mouse", 0.02, 995_000)
    noise = no_brain.measure_wires("mouse", 0)
    assert np.mean(rule.score(brains[:, 0], brains[:, 1]) > 0) > 0.9
    assert np.mean(rule.score(noise[:, 0], noise[:, 1]) < 0) > 0.9
    files = (out, RULE_FILES["mouse"])
    lines = [re.sub(r"-?[\d.]+(e-\d+)?", "0", x.read_text("utf-8")).splitlines() for x in files]
    assert len(lines[0]) == len(lines[1])  # a row of numbers is a line


@pytest.mark.parametrize("species", RULE_FILES)
def test_the_packaged_rule_has_the_bands_and_the_bounds_that_are_fitted_with(species):
    unfitted, packaged = no_brain.unfitted(species), read_rule(species)
    for name in ("edges_hz", "memory_s", "lost_below", "found_above", "sure_above"):
        assert getattr(packaged, name) == getattr(unfitted, name)
    assert packaged.doubted_below == unfitted.doubted_below
