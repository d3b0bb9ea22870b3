import io
import json
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request

import msgspec
import pytest
from rich.console import Console

from daemon.config import parse_config
from daemon.trigger.rules import Rule, check_model
from models.recordings.agreement import compare
from models.recordings.hypnogram import Hypnogram
from models.stages import MOUSE
from tests.rigs import forked
from tests.rigs.forked import Forked
from tests.support.bundles import TINY, human_spec, make_bundle, make_bundle_of
from tests.support.nights import stage, trigger
from tests.support.pages import Page
from tools.client.subscriber import Received, Subscriber
from tools.daemon_process import ChildError, DaemonProcess, to_toml, write_config
from tools.demo.report import Collector, DemoReport, draw_report, make_report
from tools.demo.scenes import SCENES
from tools.demo.screen import Screen

MICE = SCENES["mouse"]
TRUTH = {"m1": ("Wake", "NREM", "REM"), "m2": ("Wake", "Wake", "NREM")}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle"), n_context=5, **TINY)


@pytest.fixture(scope="module")
def shown(tmp_path_factory, bundle):
    """A small demo: its process, its figures, and the folder that it wrote to."""
    folder = tmp_path_factory.mktemp("demo")
    home = tmp_path_factory.mktemp("home")
    options = (
        "--minutes 0.5 --subjects 2 --speed 10 --seed 3 --hop 0.5 --json demo.json --png demo.png"
    )
    process = forked.run(
        *("demo", "--bundle", bundle, *options.split()),
        cwd=folder,
        environ={"COLUMNS": "140", "HOME": str(home)},
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert not list(home.rglob("*hypnod*"))  # its journal is no one else's
    return process, json.loads((folder / "demo.json").read_bytes()), folder


def test_a_live_stage_is_published_each_hop_and_a_final_one_each_epoch(shown):
    _, report, _ = shown
    assert report["epochs_expected"] == report["epochs_published"] == 2 * 59  # of 1 s, one each 0.5
    assert report["finals_expected"] == report["finals_published"] == 2 * 30
    assert report["hop_s"] == 0.5
    assert report["problems"] == []


def test_the_figures_are_those_of_the_confusion_matrix(shown):
    _, report, _ = shown
    for kind, n in (("live", 118), ("final", 60)):
        agreement = report[kind]
        assert sum(map(sum, agreement["confusion"])) == agreement["n_epochs"]
        assert agreement["n_epochs"] + agreement["n_unscored"] == n
        subjects = [subject[kind] for subject in report["subjects"].values()]
        assert sum(subject["n_epochs"] for subject in subjects) == agreement["n_epochs"]
    latency = report["latency_ms"]
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"]
    assert report["speed"] == 10
    assert report["engine"].startswith("onnxruntime")


def test_it_shows_what_it_found_and_that_the_data_are_simulated(shown):
    process, report, folder = shown
    assert "simulated mice; no animal was recorded" in process.stdout
    assert "118 live of 118 expected, 60 final of 60  each once, in order" in process.stdout
    assert process.stderr == ""
    assert (folder / "demo.png").read_bytes().startswith(b"\x89PNG")
    assert {file.name for file in folder.iterdir()} == {"demo.json", "demo.png"}
    console = Console(file=io.StringIO(), width=80)
    console.print(draw_report(msgspec.convert(report, DemoReport)))
    assert "κ live" in console.file.getvalue()


def test_a_person_is_shown_by_the_bundle_of_people(tmp_path):
    bundle = make_bundle_of(human_spec(), tmp_path)
    options = "--species human --minutes 0.5 --subjects 1 --speed 10 --json demo.json"
    process = forked.run("demo", "--bundle", bundle, *options.split(), cwd=tmp_path)
    assert process.returncode == 0, process.stdout + process.stderr
    report = json.loads((tmp_path / "demo.json").read_bytes())
    assert report["epochs_expected"] == report["epochs_published"] == report["finals_published"]
    assert report["epochs_expected"] == 7  # of 4 s
    assert (report["problems"], list(report["subjects"])) == ([], ["p1"])
    assert "simulated people; nobody was recorded" in " ".join(process.stdout.split())
    assert (tmp_path / "hypnod-demo.png").exists()
    other = forked.run("demo", "--bundle", bundle, "--species", "mouse", cwd=tmp_path)
    assert other.returncode == 4
    assert "expected a bundle of the species mouse" in other.stderr


def test_the_rule_that_people_are_shown_fits_their_model():
    check_model([msgspec.convert(SCENES["human"].rule, Rule)], human_spec())


def run_demo(folder, *options):
    return forked.run("demo", "--minutes", "0.5", *options, cwd=folder)


def test_a_rule_is_shown_in_real_time_and_long_enough(tmp_path):
    found = run_demo(tmp_path, "--trigger", "--speed", "15")
    assert found.returncode == 3
    assert "expected --trigger with --speed 1" in " ".join(found.stderr.split())
    short = run_demo(tmp_path, "--trigger")
    assert short.returncode == 3
    assert "expected --trigger with --minutes above 1" in " ".join(short.stderr.split())
    uneven = run_demo(tmp_path, "--hop", "0.3")
    assert uneven.returncode == 3
    assert "--hop: expected a whole fraction of the epoch" in " ".join(uneven.stderr.split())


@pytest.mark.parametrize("more", [("--json", "demo.json"), ("--speed", "2")])
def test_what_the_live_page_does_not_heed_is_refused(tmp_path, more):
    found = run_demo(tmp_path, "--web", *more)
    assert found.returncode == 3
    assert f"expected --web without {more[0]}" in " ".join(found.stderr.split())


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_live_page_of_two_mice_has_a_past_and_ends_with_all_of_it(tmp_path, bundle, how):
    pytest.importorskip("uvicorn", reason="needs hypnod[web]")
    options = ("--web", "--minutes", "0.5", "--subjects", "2", "--bundle", str(bundle))
    with Forked(["demo", *options], cwd=tmp_path, stdout=subprocess.PIPE, stderr=2) as process:
        said = iter(process.stdout.readline, "")
        url = next(found[0] for line in said if (found := re.search(r"http://\S+", line)))
        with urllib.request.urlopen(f"{url}api/events", timeout=60) as events:
            staged = {}
            while len(staged) < 2:
                line = events.readline()
                told = json.loads(line.removeprefix(b"data: ")) if line.startswith(b"data") else {}
                staged |= {t["name"]: t for t in told.get("tiles", ()) if t["stage"]}
        process.send_signal(how)
        assert process.wait(60) == 0
    with pytest.raises(urllib.error.URLError):  # what it had started has ended, too
        urllib.request.urlopen(url, timeout=60)
    assert sorted(staged) == ["m1", "m2"]
    (report,) = tmp_path.iterdir()  # and its journal is gone
    assert report.name == "hypnod-demo.html"
    names = [t for t in Page(report.read_text("utf-8")).texts if t in staged]
    assert {*names} == {"m1", "m2"}


def test_the_rule_that_is_shown_is_one_and_acts_without_being_armed():
    config = daemon_config("bundle") | {"triggers": [MICE.rule]}
    (rule,) = parse_config(to_toml(config), "test").triggers
    assert (rule.stages, rule.dwell_s, rule.on_s, rule.armed) == (("REM",), 2, 2, "always")


def test_pulses_are_counted_and_judged_by_the_simulated_truth():
    """REM from 61 s on for 5 s; a first pulse is right, a second one is too late."""
    truth = ["NREM"] * 61 + ["REM"] * 5 + ["NREM"] * 14
    hops = range(4 * 77 + 1)
    hypnograms = {"m1": Hypnogram.from_epochs(truth, 1.0)}
    collector = Collector({"m1": hypnograms["m1"].to_epochs(1.0, len(hops), 0.25)})
    on = {4 * 63 - 4: 0, 4 * 68 - 4: 1}  # decided at 63 and at 68 s
    for hop in hops:
        pulse = next((p for first, p in on.items() if first <= hop < first + 8), None)
        fields = {"hop": hop, "epoch": hop // 4, "age_s": 0.01}
        said = trigger(hop, "off" if pulse is None else "on", pulse=pulse, **fields)
        for message in (stage(hop, hop_s=0.25, slots_filled=64, **fields), said):
            collector.add(Received(message.topic, message, time.time(), time.monotonic()))
    report = make_report(
        collector, MOUSE, hypnograms, MICE, speed=1.0, minutes=1, seed=0, startup_s=1.0
    )
    (rule,) = report.triggers
    assert [(p.start, p.duration) for p in rule.pulses] == [(63.01, 2.0), (68.01, 2.0)]
    assert (rule.verdict.right, rule.verdict.false) == (1, 1)
    assert (rule.verdict.hit, rule.verdict.wanted) == (1, 1)
    assert rule.median_delay_s == pytest.approx(2.01)
    console = Console(file=io.StringIO(), width=80)
    console.print(draw_report(report))
    assert re.search(r"rem-restriction m1 +2 +0 +4\.0 +1 of 1 +1 of 2", console.file.getvalue())


def test_where_there_is_no_terminal_each_change_of_a_rule_is_a_line():
    said = ["off", "off", "on", "on", "off", "refused", "refused", "off"]
    messages = [trigger(k, action) for k, action in enumerate(said)]
    console = Console(file=io.StringIO(), width=80)
    with (
        Subscriber("tcp://127.0.0.1:9", prefixes=()) as subscriber,
        Screen(subscriber, Collector(TRUTH), console) as screen,
    ):
        for message in messages:
            screen.show(Received(message.topic, message, time.time(), time.monotonic()))
    lines = console.file.getvalue().splitlines()
    assert [line.split(": ")[1] for line in lines] == [
        f"rem {action}" for action in ("on", "off", "refused", "off")
    ]
    assert lines[0] == "m1: rem on: REM for 2 s"


def test_a_daemon_that_fails_shows_its_log(tmp_path, bundle):
    found = run_demo(tmp_path, "--bundle", str(bundle), "--engine", "abacus")
    assert found.returncode == 1
    assert "expected the daemon to run, found that it ended with code 3" in found.stderr
    assert "found 'abacus'" in found.stderr


def collect(epochs, kind="live"):
    collector = Collector({"m1": TRUTH["m1"]})
    for epoch in epochs:
        message = stage(epoch, kind=kind)
        collector.add(Received(message.topic, message, time.time(), time.monotonic()))
    return collector


@pytest.mark.parametrize("epochs", [[0, 1], [0, 1, 1, 2], [0, 2, 1], [0, 1, 2, 3]])
def test_what_is_missing_double_or_out_of_order_is_a_problem(epochs):
    problems = list(collect(epochs).find_problems())
    assert problems[0].startswith("m1: expected 3 live epochs, each once and in order, found")
    report = make_report(
        collect(epochs), MOUSE, {}, MICE, speed="max", minutes=1, seed=0, startup_s=1.0
    )
    assert report.problems == tuple(problems)
    console = Console(file=io.StringIO(), width=120)
    console.print(draw_report(report))
    assert "✖ m1: expected 3 live epochs" in console.file.getvalue()


def test_all_epochs_in_order_are_no_problem():
    (problem,) = collect([0, 1, 2]).find_problems()
    assert "final" in problem


def test_an_epoch_that_never_came_counts_as_unscored():
    collector = collect([0, 1])
    agreement = compare(TRUTH["m1"], collector.hypnogram("live", "m1"), MOUSE)
    assert (agreement.n_epochs, agreement.n_unscored) == (2, 1)


def test_latency_is_until_the_receipt():
    message = stage(0, latency_s=0.25, published_utc="1970-01-01T00:00:10.000000+00:00")
    collector = Collector(TRUTH)
    collector.add(Received(message.topic, message, 10.5, 0.0))
    assert collector.latencies_s == pytest.approx([0.75])


def test_toml_is_read_back():
    config = {
        "streams": [
            {
                "name": "cage",
                "match": {"name": "a \"quoted\" \\ 'name' µ"},
                "subjects": [{"name": "m1", "channels": {"eeg": "EEG1", "emg": "A-B"}}],
            }
        ],
        "staging": {"hop_s": 0.125, "final_lag": 3},
        "publish": {"lsl": False},
    }
    read = parse_config(to_toml(config), "test")
    assert read.streams[0].match == config["streams"][0]["match"]
    assert read.streams[0].subjects[0].channels == {"eeg": "EEG1", "emg": "A-B"}
    assert (read.staging.hop_s, read.staging.final_lag, read.publish.lsl) == (0.125, 3, False)


def daemon_config(bundle):
    subjects = [{"name": "m1", "channels": {"eeg": "EEG1", "emg": "EMG1"}}]
    return {
        "streams": [{"name": "cage", "match": {"name": "nowhere"}, "subjects": subjects}],
        "engine": {"bundle": str(bundle)},
    }


@pytest.mark.usefixtures("forked_children")
def test_a_daemon_process_is_ready_and_stops_in_order(tmp_path, bundle):
    with DaemonProcess(write_config(tmp_path, daemon_config(bundle)), {}) as daemon:
        daemon.wait_ready()
        assert daemon.startup_s > 0
        assert daemon.endpoint.startswith("tcp://127.0.0.1:")
        daemon.check_alive()
        daemon.ask_to_stop()
        daemon.wait_stopped()
        with pytest.raises(ChildError, match="ended with code 0"):
            daemon.check_alive()


@pytest.mark.usefixtures("forked_children")
def test_a_daemon_process_that_dies_is_told_with_its_log(tmp_path, bundle):
    with DaemonProcess(write_config(tmp_path, daemon_config(bundle)), {}) as daemon:
        daemon.wait_ready()
        daemon.process.send_signal(signal.SIGKILL)
        with pytest.raises(
            ChildError, match=r"(?s)ended with code -9; its log ends:.*info +engine"
        ):
            daemon.wait_stopped()
        for _ in range(2):  # whoever asks again is told again
            with pytest.raises(ChildError, match="ended with code -9"):
                daemon.event("never")
