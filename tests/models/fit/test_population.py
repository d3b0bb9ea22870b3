import re

import msgspec
import numpy as np
import pytest

from models.fit import population
from models.relative_spec import RelativeSpec
from models.signal.relative import RELATIVE_FILES, relative_of

SHORT = ["--subjects", "3", "--hours", "0.03", "--processes", "2", "--out"]


def test_a_population_of_three_short_mice_is_what_levels_are_held_against(tmp_path, monkeypatch):
    out = tmp_path / "relative.json"
    monkeypatch.setattr("sys.argv", ["population", "mouse", *SHORT, str(out)])
    population.main()
    found = msgspec.json.decode(out.read_bytes(), type=RelativeSpec)
    assert found.source == "medians over 3 widened simulated mice of 0.03 h"
    assert found.edges_hz == population.EDGES_HZ["mouse"]
    mice = [
        population.measure_subject(population.spec_of("mouse"), 0.03, 990_000 + k) for k in range(3)
    ]
    mean, variance = np.median(mice, axis=0)
    for m, n in enumerate(found.n_features):
        np.testing.assert_allclose(found.mean[m], mean[m, :n], rtol=1e-3)
        np.testing.assert_allclose(found.sd[m], np.sqrt(variance[m, :n]), rtol=1e-3)
    lines = [
        re.sub(r"-?[\d.]+", "0", x.read_text("utf-8")).splitlines()
        for x in (out, RELATIVE_FILES["mouse"])
    ]
    assert len(lines[0]) == len(lines[1])  # a row of numbers is a line


@pytest.mark.parametrize("species", sorted(RELATIVE_FILES))
def test_the_packaged_population_has_the_bands_and_the_settings_that_are_fitted(species):
    features, packaged = population.unscaled(species), relative_of(species)
    fitted = {"source": packaged.source, "mean": packaged.mean, "sd": packaged.sd}
    assert msgspec.structs.replace(features, **fitted) == packaged
