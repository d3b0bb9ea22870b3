"""The alert rules and the dashboard: as promtool reads them, and in a real Prometheus server."""

import contextlib
import json
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

import pytest

from daemon.metrics import Metrics
from models.stages import COLOURS
from tests.rigs.daemon import TIMEOUT_S, Daemon, one_stream
from tests.rigs.lsl import Source
from tests.support.bundles import TINY, make_bundle
from tests.support.paths import ROOT
from tests.support.signals import noise

RULES = ROOT / "systemd" / "prometheus-alerts.yml"
DASHBOARD = ROOT / "systemd" / "grafana-dashboard.json"
SFREQ = 512


def program(name):
    return shutil.which(name) or pytest.skip(f"needs {name}, of Debian's package prometheus")


def promtool(*arguments):
    command = [program("promtool"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False, text=True)


def expressions_of_dashboard():
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


def hypnograms():
    """Return the panels that show stages as a timeline."""
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    return [p for p in panels if "hypnod_stage{" in str(p.get("targets"))]


def exposed_metrics():
    """Return every name that a scrape can bring."""
    suffixes = {
        "counter": ["_total"],
        "histogram": ["_bucket", "_sum", "_count"],
        "info": ["_info"],
    }
    families = list(Metrics().registry.collect())
    return {f.name + suffix for f in families for suffix in suffixes.get(f.type, [""])}


def test_the_rules_are_understood():
    found = promtool("check", "rules", RULES)
    assert found.returncode == 0, found.stderr


def test_each_alert_fires_when_it_should_and_not_otherwise():
    found = promtool("test", "rules", ROOT / "tests" / "system" / "prometheus_alerts_test.yml")
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_dashboard_s_queries_are_understood(tmp_path):
    queries = [e.replace("$", "") for e in expressions_of_dashboard()]
    rules = [{"record": f"panel:{i}", "expr": expr} for i, expr in enumerate(queries)]
    file = tmp_path / "queries.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), "utf-8")
    found = promtool("check", "rules", file)
    assert found.returncode == 0, found.stderr


def test_rules_and_dashboard_name_only_metrics_that_exist():
    text = "\n".join([RULES.read_text("utf-8"), *expressions_of_dashboard()])
    named = set(re.findall(r"\b((?:hypnod|process)_\w+)[{\[) ]", text))
    assert len(named) > 15
    assert named <= exposed_metrics()


def test_a_row_of_the_dashboard_is_repeated_for_each_subject_with_its_hypnogram():
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    (row,) = (i for i, panel in enumerate(panels) if panel.get("repeat") == "subject")
    assert panels[row + 1] in hypnograms()
    assert all("$subject" in panel["title"] for panel in panels[row:])
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_hypnograms_show_every_stage_in_its_colour(tmp_path):
    """Of each stage promtool asks the panel's query, whose answer the panel's mapping names."""
    shown = {}
    tests = []
    for panel in hypnograms():
        (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
        for code, named in mapping["options"].items():
            for name in named["text"].split(", "):
                shown[name] = named["color"]
                stages = dict.fromkeys(("Wake", "NREM"), 0) | ({name: 1} if int(code) else {})
                series = [
                    {"series": f'hypnod_stage{{subject="m1", stage="{s}"}}', "values": f"{v}x9"}
                    for s, v in stages.items()
                ]
                expected = [{"labels": '{subject="m1"}', "value": int(code)}]
                expr = re.sub(r"\$\w+", ".*", panel["targets"][0]["expr"])
                asked = {"expr": expr, "eval_time": "5m", "exp_samples": expected}
                tests.append({"input_series": series, "promql_expr_test": [asked]})
    file = tmp_path / "stages.yml"
    file.write_text(json.dumps({"evaluation_interval": "1m", "tests": tests}), "utf-8")
    found = promtool("test", "rules", file)
    assert found.returncode == 0, found.stdout + found.stderr
    assert shown["not staged"] == "transparent"
    stages = {"Wake", "NREM", "REM", "N1", "N2", "N3", "ART", "UNKNOWN"}
    assert stages <= {*shown}
    alike = {"N2": "NREM"}  # one row for both
    assert {s: shown[s] for s in stages} == {s: COLOURS[alike.get(s, s)].picture for s in stages}


def in_install(begin):
    """Return the YAML of docs/install.md that begins with a line."""
    text = (ROOT / "docs" / "install.md").read_text("utf-8")
    return re.search(rf"```yaml\n({re.escape(begin)}.*?)```", text, re.DOTALL)[1]


def test_what_the_docs_say_of_alertmanager_is_understood(tmp_path):
    config = tmp_path / "prometheus.yml"
    shutil.copy(RULES, tmp_path / "hypnod-alerts.yml")
    config.write_text(in_install("rule_files:") + in_install("alerting:"), "utf-8")
    found = promtool("check", "config", config)
    assert found.returncode == 0, found.stdout + found.stderr
    (tmp_path / "alertmanager.yml").write_text(in_install("route:"), "utf-8")
    tool = shutil.which("amtool") or pytest.skip(
        "needs amtool, of Debian's package prometheus-alertmanager"
    )
    command = [tool, "check-config", str(tmp_path / "alertmanager.yml")]
    found = subprocess.run(command, capture_output=True, check=False, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle"), n_context=5, **TINY)


@contextlib.contextmanager
def prometheus(folder, target):
    """Run a Prometheus that scrapes one target and judges the rules several times a second."""
    rules = re.sub(r"for: \w+", "for: 1s", RULES.read_text("utf-8"))
    (folder / "rules.yml").write_text(rules, "utf-8")
    scraped = {"job_name": "hypnod", "static_configs": [{"targets": [target]}]}
    every = {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms"}
    config = {"global": every, "rule_files": ["rules.yml"], "scrape_configs": [scraped]}
    (folder / "prometheus.yml").write_text(json.dumps(config), "utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    arguments = {
        "config.file": folder / "prometheus.yml",
        "storage.tsdb.path": folder / "data",
        "web.listen-address": address,
    }
    with (folder / "prometheus.log").open("w", encoding="utf-8") as log:
        command = [program("prometheus"), *(f"--{key}={value}" for key, value in arguments.items())]
        process = subprocess.Popen(command, stderr=log, env={"GOMAXPROCS": "1"})
        try:
            yield Server(process, f"http://{address}/api/v1")
        finally:
            process.terminate()
            process.wait(TIMEOUT_S)


class Server:
    """A Prometheus server's HTTP API."""

    def __init__(self, process, url):
        self._process = process
        self._url = url

    def wait_for(self, what, wanted):
        """Ask again and again, until the answer is as wanted."""
        data = None
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            assert self._process.poll() is None, "Prometheus ended"
            with contextlib.suppress(urllib.error.URLError):  # it is starting
                with urllib.request.urlopen(f"{self._url}/{what}", timeout=TIMEOUT_S) as answer:
                    data = json.load(answer)["data"]
                if (found := wanted(data)) is not None:
                    return found
            time.sleep(0.05)
        raise AssertionError(f"not in {TIMEOUT_S:g} s; the last answer: {data}")


def alert(name, state):
    """Return what finds an alert in the answer to `alerts`."""

    def find(data):
        for each in data["alerts"]:
            if each["labels"]["alertname"] == name and each["state"] == state:
                return each
        return None

    return find


def healthy(data):
    return True if [t["health"] for t in data["activeTargets"]] == ["up"] else None


@pytest.fixture
def watched(bundle, tmp_path):
    """A source, the daemon that reads it, and a Prometheus that scrapes the daemon."""
    name = f"prometheus-{uuid.uuid4().hex}"
    program("prometheus")
    with (
        Source(name, sfreq=SFREQ) as source,
        Daemon(tmp_path, one_stream(name), bundle, more="[staging]\nstall_s = 1.0") as daemon,
    ):
        daemon.listen()
        daemon.event("stream", state="FILLING")
        with prometheus(tmp_path, daemon.url.removeprefix("http://")) as server:
            server.wait_for("targets", healthy)
            yield source, daemon, server


def test_a_stalled_stream_and_a_killed_daemon_raise_an_alert(watched):
    source, daemon, server = watched
    source.push(5 * SFREQ, data=noise(5 * SFREQ))
    firing = server.wait_for("alerts", alert("HypnodStreamStalled", "firing"))
    assert firing["labels"]["stream"] == "cage"
    assert firing["labels"]["state"] == "STALLED"
    assert firing["annotations"]["summary"] == "stream cage is STALLED"
    daemon.process.kill()
    firing = server.wait_for("alerts", alert("HypnodAbsent", "firing"))
    assert "does not answer" in firing["annotations"]["summary"]


def test_the_dashboard_s_queries_and_variables_find_what_a_daemon_exposes(watched):
    """As Grafana asks them, with everything chosen; drift needs a bundle that knows its animals."""
    source, _, server = watched
    data = noise(8 * SFREQ)
    data[4 * SFREQ :, 1] = 0.0  # the EMG lies flat
    source.push(len(data), data=data)
    for variable in json.loads(DASHBOARD.read_text("utf-8"))["templating"]["list"][1:]:
        found = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"])
        asked = urllib.parse.urlencode({"match[]": found[1]})
        server.wait_for(f"label/{found[2]}/values?{asked}", lambda data: data or None)
    for expr in expressions_of_dashboard():
        asked = urllib.parse.urlencode({"query": re.sub(r"\$\w+", ".*", expr)})
        may_be_empty = "hypnod_drift_ratio" in expr
        server.wait_for(f"query?{asked}", lambda d, e=may_be_empty: d["result"] or e or None)
