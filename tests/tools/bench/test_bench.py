import importlib.util
import io
import json
import math
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from rich.console import Console

from engines.bundle import open_bundle
from engines.select import open_engine
from models.spec import FULL_FILE, STEP_FILE
from tests.support import bundles
from tools.bench.bundle import N_CONTEXTS, graphs_of, make_bundle
from tools.bench.engine import has_full_graph, time_cached_and_full, time_in_turns
from tools.bench.many import ORT, draw, thread_counts, time_many
from tools.bench.report import judge
from tools.measure import Percentiles, percentiles

HYPNOD = "from tools.cli import main; main()"
pytestmark = pytest.mark.timeout(300)  # a start of six processes; an export where none is kept
PERCENTILES = ("end_to_end_ms", "floor_ms", "latency_64_subjects_ms")


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A quick bench of a small net: its output and its figures."""
    folder = tmp_path_factory.mktemp("bench")
    bundle = bundles.make_bundle(folder, n_context=5, **bundles.TINY)
    command = [sys.executable, "-c", HYPNOD, "bench", "--quick"]
    process = subprocess.run(
        [*command, "--bundle", str(bundle), "--json", str(folder / "bench.json")],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env=os.environ | {"COLUMNS": "140"},
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process, json.loads((folder / "bench.json").read_bytes())


def numbers_in(value):
    if isinstance(value, dict):
        return [number for each in value.values() for number in numbers_in(each)]
    return [value] if isinstance(value, float) else []


def test_every_figure_is_there_finite_and_consistent(shown):
    _, report = shown
    numbers = numbers_in(report)
    assert len(numbers) > 20
    assert all(math.isfinite(number) for number in numbers)
    for n, speedup in report["cached_speedup"].items():
        assert speedup == pytest.approx(report["full_ms"][n] / report["cached_ms"][n])
    assert set(report["step_ms"]) == {"1", "8", "64"}
    for name in PERCENTILES:
        times = report[name]
        assert 0 < times["p50"] <= times["p95"] <= times["p99"]
    for p, above in report["above_floor_ms"].items():
        assert above == pytest.approx(report["end_to_end_ms"][p] - report["floor_ms"][p])
    assert report["n_latencies"] > 0
    assert report["subjects_per_core"] == pytest.approx(64 / report["cpu_64_subjects"])
    assert report["missed_64_subjects"] == 0
    for name in ("rss_mb", "rss_64_subjects_mb", "startup_s", "took_s"):
        assert report[name] > 0


def test_the_paper_s_net_is_measured_beside_the_bundle(shown):
    process, report = shown
    assert set(report["cached_ms"]) == {"16", "64", "bundle"}
    assert report["work_ratio"]["16"] == pytest.approx(9.7, abs=0.1)
    assert report["work_ratio"]["64"] == pytest.approx(15.8, abs=0.1)
    assert report["skipped"] == {}
    assert "quick: not figures to tell" in process.stdout
    assert len(report["goals"]) == 3


def test_the_shipped_bundle_has_a_full_window_to_compare_with():
    assert has_full_graph(open_bundle())


@pytest.mark.parametrize("n_context", N_CONTEXTS)
def test_the_graphs_are_those_that_the_net_exports_now(tmp_path, n_context):
    exported = bundles.make_bundle(tmp_path, n_context=n_context)
    for name in (STEP_FILE, FULL_FILE):
        packaged, fresh = (_outline(folder / name) for folder in (graphs_of(n_context), exported))
        assert packaged == fresh, f"run python -m tools.bench.make_graphs: {name} is stale"


def _outline(path):
    graph = onnx.load(path, load_external_data=False).graph
    places = {t.name: {e.key: e.value for e in t.external_data} for t in graph.initializer}
    return [node.op_type for node in graph.node], places


def test_the_long_bundle_computes_the_same_cached_and_full(tmp_path):
    bundle = make_bundle(tmp_path / "long", 64)
    assert bundle.spec.n_context == 64
    cached, full = time_cached_and_full(bundle, 1)
    assert cached > 0
    assert full > 0
    with open_engine(bundle, "onnxruntime", n_rows=1) as engine:
        epochs = np.zeros((1, 2, bundle.spec.n_times), np.float32)
        answer = engine.step(epochs, np.arange(1), np.ones((1, 2), bool))
    assert np.isfinite(answer).all()


def test_turns_time_each_call_as_often():
    calls = [0, 0]

    def count(i):
        calls[i] += 1

    times = time_in_turns((lambda: count(0), lambda: count(1)), 13)
    assert times.shape == (2, 13)
    assert (times > 0).all()
    assert calls[0] == calls[1] >= 13


def test_goals_are_judged():
    near, far = Percentiles(1.0, 2.0, 9.9), Percentiles(1.0, 2.0, 10.1)
    assert list(judge({"16": 8.0}, near, 0.49).values()) == [True, True, True]
    assert list(judge({"16": 7.9}, far, 0.5).values()) == [False, False, False]


def test_percentiles_are_in_ms():
    assert percentiles([0.001] * 5) == Percentiles(1.0, 1.0, 1.0)
    assert percentiles([]) is None


def test_many_subjects_are_staged_in_every_way_and_alike(tmp_path):
    bundle = open_bundle(bundles.make_bundle(tmp_path, n_context=5, **bundles.TINY))
    ticks = []
    report = time_many(bundle, [1, 2], {20: 2, 40: 1}, ticks.append)
    assert ticks == [0.5, 1.0]
    ours = [w for w in report.ways if w.engine == ORT]
    assert [(w.subjects, w.threads, w.per_call) for w in ours] == [
        *((20, threads, per_call) for threads in (1, 2) for per_call in (20, 16)),
        *((40, threads, per_call) for threads in (1, 2) for per_call in (40, 16, 32)),
    ]
    assert all(w.wall_ms > 0 and w.max_abs_difference < 1e-5 for w in report.ways)
    assert [w.wall_ratio for w in ours if (w.threads, w.per_call) == (1, w.subjects)] == [1, 1]
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(draw(report))
    there = importlib.util.find_spec("openvino") is not None
    assert ("openvino f32: not installed" in console.export_text()) != there


def test_threads_are_doubled_up_to_all_cores():
    assert [thread_counts(n) for n in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]
