import subprocess
import sys

import pytest

from models.base import MODELS, NEW_MODELS, part_of
from models.errors import SpecError
from models.stages import SPECIES
from tests.support.paths import ROOT

WITHOUT_TORCH = """
import sys
import engines.select, engines.onnxruntime, models.base, models.graphs
from models.base import part_of
part_of(models.base.NEW_MODELS["mouse"], "work")
assert "torch" not in sys.modules
"""


@pytest.mark.parametrize("model", MODELS)
def test_a_model_s_folder_has_what_export_and_training_ask_for(model):
    net, losses = part_of(model, "net"), part_of(model, "losses")
    spec = net.new_spec(5)
    assert (spec.model, spec.n_context) == (model, 5)
    assert net.build(spec).spec == spec
    assert isinstance(losses.PAPER_RECIPE["loss"], losses.LossConfig)
    assert callable(losses.staging_loss)
    assert callable(losses.beside)
    assert min(part_of(model, "work").count_products(spec, 1)) > 0


def test_unknown_model_is_refused():
    with pytest.raises(
        SpecError, match="model: expected one of sdreamer, sleepdifformer, found 'dreamer'"
    ):
        part_of("dreamer", "net")


def test_the_registry_and_what_asks_it_import_no_torch():
    assert NEW_MODELS["mouse"] in MODELS
    assert set(NEW_MODELS) == set(SPECIES)
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH], check=True, cwd=ROOT)
