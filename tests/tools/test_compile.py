"""`hypnod compile` with the real TensorRT-RTX, which compiles without a GPU."""

from pathlib import Path

import msgspec
import pytest

from engines.gpu.flavour import version_of
from engines.gpu.plan_cache import PlanManifest
from tests.rigs import forked
from tests.support.bundles import TINY, make_bundle
from tests.support.gpu import has_driver

needs_rtx = pytest.mark.skipif(not version_of("rtx"), reason="tensorrt-rtx is not installed")
without_gpu = pytest.mark.skipif(has_driver(), reason="this computer has an NVIDIA driver")


def compile_with(*options):
    return forked.run("compile", *options)


@needs_rtx
def test_plans_are_written_where_it_is_asked_for(tmp_path):
    bundle = make_bundle(tmp_path, n_context=5, **TINY)
    options = ["--precision", "fp16", "--compute-capability", "8.9", "--subjects", "100"]
    done = compile_with(*options, "--bundle", str(bundle), "--out", str(tmp_path / "plans"))
    assert done.returncode == 0, done.stderr
    assert "MB for mixed of 1 to 128 subjects" in done.stderr
    assert "MB for mixed, eeg, emg of 1 to 128 subjects" in done.stderr
    plans = [Path(line) for line in done.stdout.splitlines()]
    assert len({*plans}) == 2
    for plan in plans:
        assert plan.parent == tmp_path / "plans"
        manifest = msgspec.json.decode(plan.with_suffix(".json").read_bytes(), type=PlanManifest)
        assert (manifest.key.precision, manifest.key.compute_capability) == ("fp16", "8.9")
        assert manifest.key.driver == ""


@needs_rtx
@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--out", __file__], "expected a folder for plans that can be written to, found: "),
        (["--subjects", "1000000000"], "of context, found 5368709120 (1073741824 subjects)"),
    ],
)
def test_what_the_place_or_the_builder_refuses_is_one_sentence(options, complaint, tmp_path):
    bundle = make_bundle(tmp_path, n_context=5, **TINY)
    given = ["--bundle", str(bundle), "--compute-capability", "8.9", "--out", str(tmp_path / "out")]
    done = compile_with(*given, *options)
    assert done.returncode == 4
    assert done.stderr.strip().count("\n") == 0
    assert complaint in done.stderr
    assert not (tmp_path / "out").exists()


@needs_rtx
@without_gpu
@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ([], "expected an NVIDIA driver (libcuda.so.1), found none"),
        (["--flavour", "tensorrt", "--compute-capability", "8.9"], "expected an NVIDIA driver"),
        (["--compute-capability", "9.0"], "8.9, 12.0, 12.1, found '9.0'; TensorRT (--flavour"),
    ],
)
def test_what_cannot_be_compiled_here_is_one_sentence(options, complaint, tmp_path):
    done = compile_with(*options, "--out", str(tmp_path))
    assert done.returncode == 4
    assert done.stderr.strip().count("\n") == 0
    assert complaint in done.stderr
    assert list(tmp_path.iterdir()) == []
