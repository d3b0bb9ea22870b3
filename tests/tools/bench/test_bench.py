import json
import math

import numpy as np
import pytest
from typer.testing import CliRunner

from engines.bundle import open_bundle
from models.simulator.species import SIMULATORS
from tests.support import bundles
from tools.bench.daemon import HOPS, SIMULATED_S, chunk_of, measure_latency
from tools.bench.engine import time_in_turns
from tools.bench.report import TriggerCost, judge
from tools.cli import app
from tools.shared.measure import Percentiles, percentiles

pytestmark = pytest.mark.timeout(300)  # a start of nine processes; an export where none is kept
PERCENTILES = ("end_to_end_ms", "floor_ms", "latency_64_subjects_ms")


@pytest.fixture(scope="module")
def shown(tmp_path_factory, forked_children):
    """A quick bench of a small net: its output and its figures."""
    folder = tmp_path_factory.mktemp("bench")
    bundle = bundles.make_bundle(folder, n_context=5, **bundles.TINY)
    options = ["--quick", "--bundle", str(bundle), "--json", str(folder / "bench.json")]
    done = CliRunner().invoke(app, ["bench", *options], env={"COLUMNS": "140"})
    assert done.exit_code == 0, done.output
    return done.stdout, json.loads((folder / "bench.json").read_bytes())


def numbers_in(value):
    if isinstance(value, dict):
        return [number for each in value.values() for number in numbers_in(each)]
    return [value] if isinstance(value, float) else []


def test_every_figure_is_there_finite_and_consistent(shown):
    _, report = shown
    numbers = numbers_in(report)
    assert len(numbers) > 20
    assert all(math.isfinite(number) for number in numbers)
    assert set(report["step_ms"]) == {"1", "8", "64"}
    for name in PERCENTILES:
        times = report[name]
        assert 0 < times["p50"] <= times["p95"] <= times["p99"]
    assert set(report["triggers"]) == {"1", "16"}
    for cost in report["triggers"].values():
        for name in ("pin_ms", "told_ms", "floor_ms"):
            assert 0 < cost[name]["p50"] <= cost[name]["p95"] <= cost[name]["p99"]
        assert cost["told_ms"]["p50"] < cost["pin_ms"]["p50"]
        assert cost["n"] > 0
    assert list(report["hops"]) == ["1", "0.25"]
    for cost in report["hops"].values():
        assert cost["step_ms"] > 0
        assert cost["cpu"] > 0
        assert cost["missed"] == 0
        assert 0 < cost["latency_ms"]["p50"] <= cost["latency_ms"]["p99"]
    for p, above in report["above_floor_ms"].items():
        assert above == pytest.approx(report["end_to_end_ms"][p] - report["floor_ms"][p])
    assert report["n_latencies"] > 0
    assert report["subjects_per_core"] == pytest.approx(64 / report["cpu_64_subjects"])
    assert report["missed_64_subjects"] == 0
    assert report["cpu_64_subjects_unseen"] > 0
    assert report["cpu_64_subjects_seen"] > 0
    for name in ("rss_mb", "rss_64_subjects_mb", "startup_s", "took_s"):
        assert report[name] > 0


def test_each_way_to_the_pin_has_its_own_parts_below_it(shown):
    text, report = shown
    lines = [line for line in text.splitlines() if "pulses" in line or "of it" in line]
    costs = report["triggers"].values()
    parts = [cost[name] for cost in costs for name in ("pin_ms", "told_ms", "floor_ms")]
    assert len(lines) == len(parts)
    for line, part in zip(lines, parts, strict=True):
        assert f"{part['p50']:.2f} ms" in line


def test_the_goals_are_told(shown):
    text, report = shown
    assert "quick: not figures to tell" in text
    assert len(report["goals"]) == 3


@pytest.mark.usefixtures("forked_children")
def test_people_are_measured_by_their_own_simulation_at_a_hop_within_the_epoch(tmp_path):
    bundle = open_bundle(bundles.make_bundle_of(bundles.human_spec(), tmp_path))
    found = measure_latency(bundle, "onnxruntime", 1.0, tmp_path, lambda _: None)
    assert len(found.daemon) >= 3  # one each half second
    assert len(found.floor) >= 3
    assert 0 < np.median(found.floor) < 1
    assert 0 < np.median(found.daemon) < 1


@pytest.mark.parametrize("species", ["mouse", "human"])
def test_every_hop_ends_with_a_chunk_however_often_the_recording_is_played(species):
    """Else the last sample of an epoch waits for the next ones, and latencies are of chunks."""
    spec = open_bundle(None, species).spec
    sfreq, chunk = SIMULATORS[species].default_sfreq, chunk_of(spec)
    assert chunk > 1
    assert spec.live_hop_s * sfreq / HOPS % chunk == 0
    assert SIMULATED_S * sfreq % chunk == 0


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
    soon, late = (
        TriggerCost(pin_ms=Percentiles(1.0, 2.0, p99), told_ms=near, floor_ms=near, n=1)
        for p99 in (24.8, 25.0)
    )
    assert list(judge(near, 0.49, soon).values()) == [True, True, True]
    assert list(judge(far, 0.5, late).values()) == [False, False, False]


def test_percentiles_are_in_ms():
    assert percentiles([0.001] * 5) == Percentiles(1.0, 1.0, 1.0)
    assert percentiles([]) is None
