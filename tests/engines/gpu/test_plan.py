"""Plans, compiled for real by TensorRT-RTX, which needs no GPU for that. None is run here."""

import hashlib
import shutil

import msgspec
import pytest

from engines.bundle import open_bundle
from engines.errors import EngineError
from engines.gpu.buffers import bucket_sizes
from engines.gpu.flavour import FLAVOURS, Library, load_library, version_of
from engines.gpu.folder import plan_folder
from engines.gpu.network import derive_network
from engines.gpu.plan import (
    PlanKey,
    build_plan,
    check_offered,
    make_profile,
    profiles_for,
)
from engines.gpu.plan_cache import PlanRequest, find_plan, get_plans
from models.graphs import ring_step_inputs, ring_step_outputs
from tests.support.bundles import TINY, make_bundle
from tests.support.gpu import has_driver

CAPABILITIES = ["8.0", "8.6", "8.9", "12.0"]
needs_rtx = pytest.mark.skipif(not version_of("rtx"), reason="tensorrt-rtx is not installed")
without_gpu = pytest.mark.skipif(has_driver(), reason="this computer has an NVIDIA driver")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return open_bundle(make_bundle(tmp_path_factory.mktemp("tiny"), n_context=5, **TINY))


def request(bundle, precision="fp16", capability="8.9", **other):
    settings = {"flavour": "rtx", "n_rows": 3, "n_slots": 5} | other
    return PlanRequest(bundle, precision=precision, compute_capability=capability, **settings)


def key_of(bundle, precision="fp16", capability="8.9", **other):
    return request(bundle, precision, capability, **other).key(derive_network(bundle, precision))


def tensorrts(key):
    """Return the key with the profiles that TensorRT would have."""
    return msgspec.structs.replace(key, profiles=profiles_for("tensorrt", key.max_rows))


@needs_rtx
@pytest.mark.parametrize("capability", CAPABILITIES)
def test_compiles_for_every_gpu(tiny, capability):
    plan, log = build_plan(derive_network(tiny, "fp16"), key_of(tiny, "fp16", capability))
    assert len(plan) > 10_000
    assert len(log) > 100


@needs_rtx
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_compiles_in_the_other_precisions(tiny, precision):
    plan, _ = build_plan(derive_network(tiny, precision), key_of(tiny, precision))
    assert len(plan) > 10_000


@needs_rtx
@pytest.mark.parametrize("pathways", [("mixed",), ("mixed", "eeg", "emg")])
def test_compiles_in_the_profiles_of_tensorrt(pathways):
    """By the builder that is here: they share a compiler, which fails at some other profiles."""
    shipped = open_bundle()
    network = derive_network(shipped, "fp32", pathways)
    key = tensorrts(request(shipped, "fp32", n_slots=16).key(network))
    plan, _ = build_plan(network, key)
    assert len(plan) > 1_000_000


@needs_rtx
def test_shipped_bundle_compiles(tmp_path):
    phases = []
    shipped = request(open_bundle(), n_rows=100, n_slots=16)
    plans = get_plans(shipped, tmp_path, lambda *phase: phases.append(phase))
    assert len({plan.path for plan in plans}) == 2
    for plan in plans:
        assert plan.key.max_rows == 128
        assert plan.key.max_slots == 128 * 16
        assert plan.path.stat().st_size > 1_000_000
    assert phases
    assert all(0 <= done <= total for _, done, total in phases)
    assert phases[-1][1] == phases[-1][2]


@needs_rtx
def test_parser_sees_the_inputs_and_outputs_of_the_engine(tiny):
    library = load_library("rtx")
    builder = library.Builder(library.Logger(library.Logger.ERROR))
    network = builder.create_network()
    assert library.OnnxParser(network, builder.logger).parse(derive_network(tiny, "fp16"))
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    outputs = [network.get_output(i) for i in range(network.num_outputs)]
    assert [tensor.name for tensor in inputs] == [*ring_step_inputs(tiny.spec)]
    expected = ring_step_outputs(tiny.spec, tiny.spec.pathways, 1)
    assert [tensor.name for tensor in outputs] == [*expected]
    assert [tensor.dtype.name for tensor in inputs] == ["FLOAT", "BOOL", "INT64", "FLOAT"]
    assert {tensor.dtype.name for tensor in outputs} == {"FLOAT"}
    assert {next(iter(tensor.shape)) for tensor in inputs} == {-1}


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("n_rows", [1, 17, 64, 100, 1024])
def test_every_batch_that_is_run_lies_in_its_profile_and_all_of_them_lie_side_by_side(
    flavour, n_rows
):
    key = msgspec.structs.replace(KEY, profiles=profiles_for(flavour, max(64, n_rows)))
    assert len(key.profiles) == {"tensorrt": 3, "rtx": 1}[flavour]
    for bucket in bucket_sizes(n_rows):
        profile = key.profiles[key.profile_of(bucket)]
        assert profile.least <= bucket <= profile.most
    ends = [0, *(profile.most for profile in key.profiles)]
    assert [profile.least for profile in key.profiles] == [end + 1 for end in ends[:-1]]
    assert all(each.least <= each.usual <= each.most for each in key.profiles)


@needs_rtx
def test_a_profile_has_the_shapes_of_its_batches_and_of_the_ring_of_all_subjects(tiny):
    library = load_library("rtx")
    builder = library.Builder(library.Logger(library.Logger.ERROR))
    network, key = builder.create_network(), tensorrts(key_of(tiny, n_rows=100))
    assert library.OnnxParser(network, builder.logger).parse(derive_network(tiny, "fp16"))
    for profile, batch, ring in zip(
        key.profiles,
        ([1, 1, 1], [2, 8, 16], [17, 128, 128]),
        ([5, 640, 640], [10, 640, 640], [85, 640, 640]),
        strict=True,
    ):
        found = make_profile(library, builder, network, key, profile)
        sizes = dict.fromkeys(ring_step_inputs(tiny.spec), batch) | {"ring": ring}
        for i in range(network.num_inputs):
            tensor = network.get_input(i)
            shapes = found.get_shape(tensor.name)
            assert [shape[0] for shape in shapes] == sizes[tensor.name]
            assert {tuple(shape)[1:] for shape in shapes} == {tuple(tensor.shape)[1:]}


@needs_rtx
def test_what_the_parser_refuses_is_told_in_its_words(tiny):
    with pytest.raises(EngineError, match=r"network that TensorRT can parse, found: .*pars"):
        build_plan(b"no network", key_of(tiny))


@needs_rtx
def test_what_the_builder_refuses_is_told_in_its_words(tiny):
    """TensorRT-RTX has no float32 code for the oldest GPUs that it knows."""
    complaint = r"rtx 1\..*: expected to compile at fp32 for compute capability 7.5, found: \w+"
    with pytest.raises(EngineError, match=complaint):
        build_plan(derive_network(tiny, "fp32"), key_of(tiny, "fp32", "7.5"))


def test_capability_that_is_not_offered_names_those_that_are():
    with pytest.raises(EngineError, match=r"capabilities 7.5, 8.0.* found '9.0'; TensorRT \("):
        check_offered("rtx", "9.0")


@without_gpu
def test_tensorrt_is_not_touched_without_a_driver(tiny):
    key = msgspec.structs.replace(key_of(tiny), flavour="tensorrt", version="11.4")
    with pytest.raises(EngineError, match=r"expected an NVIDIA driver \(libcuda.so.1\), found"):
        build_plan(b"", key)


def test_flavour_that_is_not_installed_says_what_to_install():
    missing = [flavour for flavour in FLAVOURS if not version_of(flavour)]
    if not missing:
        pytest.skip("every flavour is installed")
    for flavour in missing:
        with pytest.raises(EngineError, match=r"\(pip install '\.\[tensorrt"):
            load_library(flavour)


@needs_rtx
def test_rtx_has_every_name_that_is_used():
    library = load_library("rtx")
    assert [name for name in Library.__annotations__ if not hasattr(library, name)] == []


@pytest.fixture(scope="module")
def built(tiny, tmp_path_factory):
    """A folder with the two plans of a model, and the one of its usual step."""
    if not version_of("rtx"):
        pytest.skip("tensorrt-rtx is not installed")
    folder = tmp_path_factory.mktemp("plans")
    return folder, get_plans(request(tiny), folder)[0]


@pytest.fixture
def plans(built, tmp_path):
    return shutil.copytree(built[0], tmp_path / "plans")


def test_plan_is_kept_with_its_log_and_manifest(tiny, built):
    folder, plan = built
    made = plan.path.stat().st_mtime_ns
    assert get_plans(request(tiny), folder)[0] == plan
    assert plan.path.stat().st_mtime_ns == made
    suffixes = sorted(file.suffix for file in folder.iterdir())
    assert suffixes == sorted(2 * [".json", ".log", ".plan"])
    assert plan.path.with_suffix(".log").read_text().strip()
    assert hashlib.sha256(plan.read()).hexdigest() == plan.manifest.sha256


@pytest.mark.parametrize(
    "damage",
    [
        lambda plan: plan.write_bytes(plan.read_bytes()[:-1]),
        lambda plan: plan.unlink(),
        lambda plan: plan.with_suffix(".json").unlink(),
        lambda plan: plan.with_suffix(".json").write_text("{}"),
    ],
    ids=["cut short", "no plan", "no manifest", "another manifest"],
)
def test_damaged_plan_is_not_taken(built, plans, damage):
    plan = built[1]
    assert find_plan(plan.key, plans).manifest == plan.manifest
    damage(plans / plan.path.name)
    assert find_plan(plan.key, plans) is None


def test_damaged_plan_is_built_anew(tiny, built, plans):
    (plans / built[1].path.name).write_bytes(b"")
    plan = get_plans(request(tiny), plans)[0]
    assert plan == find_plan(built[1].key, plans)
    assert len(plan.read()) > 10_000


def test_plan_compiled_without_a_driver_serves_beside_any(tiny, built):
    folder, plan = built
    assert get_plans(request(tiny, driver="580.65.06"), folder)[0] == plan


KEY = PlanKey(
    network="00",
    precision="fp16",
    profiles=profiles_for("rtx", 64),
    n_slots=16,
    flavour="rtx",
    version="1.7.1",
    compute_capability="8.9",
    driver="580.65.06",
)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("network", "01"),
        ("precision", "fp32"),
        ("profiles", profiles_for("rtx", 128)),
        ("profiles", profiles_for("tensorrt", 64)),
        ("n_slots", 32),
        ("flavour", "tensorrt"),
        ("version", "1.8.0"),
        ("compute_capability", "12.0"),
        ("driver", "590.1"),
    ],
)
def test_whatever_changes_another_plan_is_wanted(field, value):
    other = msgspec.structs.replace(KEY, **{field: value})
    assert other.name != KEY.name
    assert msgspec.structs.replace(other, **{field: getattr(KEY, field)}).name == KEY.name


def test_plans_lie_where_systemd_says_or_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CACHE_DIRECTORY", raising=False)
    assert plan_folder() == tmp_path / "hypnod" / "plans"
    monkeypatch.setenv("CACHE_DIRECTORY", "/var/cache/hypnod")
    assert str(plan_folder()) == "/var/cache/hypnod/plans"
