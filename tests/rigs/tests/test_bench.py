"""What `make bench` measures beside `hypnod bench`."""

import importlib.util
import io

import msgspec
import pytest
from rich.console import Console

from engines.bundle import open_bundle
from models.errors import SpecError
from tests.rigs.bench import many, steps
from tests.rigs.bench.many import ORT, thread_counts, time_many
from tests.rigs.bench.peak import measure_peak
from tests.rigs.bench.run import draw, time_paper
from tests.rigs.bench.steps import count_work, time_steps
from tests.support.bundles import TINY, make_bundle, mouse_spec


def test_the_paper_s_net_is_timed_cached_and_full():
    (paper,) = time_paper({("sdreamer", 16): 2})
    assert paper.work_ratio == pytest.approx(8.87, abs=0.01)
    assert paper.full_ms > paper.cached_ms > 0
    assert draw([paper]).row_count == 1


def test_many_subjects_are_staged_in_every_way_and_alike(tmp_path):
    bundle = open_bundle(make_bundle(tmp_path, n_context=5, levels=True, **TINY))
    ticks = []
    report = time_many(bundle, [1, 2], {20: 2, 40: 1}, ticks.append)
    assert ticks == [0.5, 1.0]
    ours = [w for w in report.ways if w.engine == ORT]
    assert [(w.subjects, w.threads, w.per_call) for w in ours] == [
        *((20, threads, per_call) for threads in (1, 2) for per_call in (20, 4, 8, 16)),
        *((40, threads, per_call) for threads in (1, 2) for per_call in (40, 4, 8, 16, 32)),
    ]
    assert all(w.wall_ms > 0 and w.max_abs_difference < 1e-5 for w in report.ways)
    assert [w.wall_ratio for w in ours if (w.threads, w.per_call) == (1, w.subjects)] == [1, 1]
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(many.draw(report))
    there = importlib.util.find_spec("openvino") is not None
    assert ("openvino f32: not installed" in console.export_text()) != there


def test_threads_are_doubled_up_to_all_cores():
    assert [thread_counts(n) for n in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]


def test_work_of_the_paper_s_net(tmp_path):
    """Counted by hand: 2 modalities of 33 tokens, 2 layers; 32 tokens, 3 layers; 5 of 16 slots.

    Of the last layers only what is read is more than key and value.
    """
    work = count_work(open_bundle(make_bundle(tmp_path)))
    epoch = 2 * 33 * 2 * 128**2 + (33 + 1) * (10 * 128**2 + 2 * 33 * 128)
    encode = 2 * (32 * (16 * 128 + 128**2) + epoch + 128**2)
    sequence = 3 * 32 * 2 * 128**2 + (2 * 32 + 2 * 5) * (10 * 128**2 + 2 * 32 * 128)
    heads = 5 * (2 * 128**2 + 128 * 256 + 256 * 3)
    assert work.flops == 2 * (encode + sequence + heads)
    assert work.bytes_each == 4 * (2 * 512 + 15 * 2 * 128 + 5 * 3 + 2 * 128)


def test_work_of_another_architecture_is_not_guessed():
    bundle = open_bundle()
    spec = msgspec.structs.replace(mouse_spec(), model="other")
    manifest = msgspec.structs.replace(bundle.manifest, spec=spec)
    with pytest.raises(
        SpecError, match="model: expected one of sdreamer, sleepdifformer, found 'other'"
    ):
        count_work(type(bundle)(bundle.path, manifest, bundle.hash))


def test_steps_are_timed_against_the_peak():
    report = time_steps(open_bundle(), ("onnxruntime",), (1,), quick=True)
    assert [(s.engine, s.threads, s.subjects) for s in report.steps] == [
        ("onnxruntime", 1, 1),
        ("onnxruntime", 1, 8),
    ]
    assert all(s.ms > 0 and s.bound_ms > 0 for s in report.steps)
    assert steps.draw(report).row_count == 2


def test_peak_is_that_of_a_process_with_so_many_threads():
    peak = measure_peak(1)
    assert peak.threads == 1
    assert peak.gflops > 0.1
    assert peak.gb_per_s > 0.1
