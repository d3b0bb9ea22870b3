import re

import msgspec
import numpy as np

from models.fit import lead_off
from models.signal.lead_off import LEAD_OFF_FILES, LeadOffRule, read_lead_off_rule

SHORT = ["lead_off", "--mice", "4", "--hours", "0.02", "--processes", "1"]


def test_a_rule_of_a_few_short_mice_tells_leads_that_come_off(tmp_path, monkeypatch):
    out = tmp_path / "rule.json"
    monkeypatch.setattr("sys.argv", [*SHORT, "--out", str(out)])
    lead_off.main()
    rule = msgspec.json.decode(out.read_bytes(), type=LeadOffRule)
    assert rule.source == (
        "4 simulated mice of 0.02 h, three of four widened, and 8 leads that come off each"
    )
    again = lead_off.measure_mouse(0.02, 985_000)
    odds = [found @ np.concatenate([*rule.weights.values()]) + rule.bias for found in again]
    assert np.mean(odds[0] > 0) <= 0.02
    assert np.mean(odds[1] > 0) > 0.8
    files = (out, LEAD_OFF_FILES["mouse"])
    lines = [re.sub(r"-?[\d.]+(e-\d+)?", "0", x.read_text("utf-8")).splitlines() for x in files]
    assert len(lines[0]) == len(lines[1])  # a row of numbers is a line


def test_as_many_seconds_of_the_brains_are_beyond_the_limit_as_may_be():
    rng = np.random.default_rng(0)
    rule = lead_off.fit(rng.normal(0, 1, (2000, 175)), rng.normal(0.5, 1, (500, 175)))
    weights = np.concatenate([*rule.weights.values()])
    found = rng.normal(0, 1, (200_000, 175)) @ weights + rule.bias
    assert 0.001 < np.mean(found > 0) < 0.02


def test_the_packaged_rule_has_the_memory_and_the_parts_that_are_fitted_with():
    packaged = read_lead_off_rule("mouse")
    unfitted = lead_off.unfitted()
    assert (packaged.memory_s, packaged.stays) == (unfitted.memory_s, unfitted.stays)
    sizes = {name: len(of) for name, of in packaged.weights.items()}
    fitted = lead_off.fit(*np.random.default_rng(0).normal(0, 1, (2, 50, sum(sizes.values()))))
    assert sizes == {name: len(of) for name, of in fitted.weights.items()}
