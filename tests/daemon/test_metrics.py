import json
import math
import urllib.error
import urllib.request

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from daemon.config import MetricsConfig
from daemon.messages import Features
from daemon.metrics import Metrics
from daemon.outbox import Round
from daemon.sockets.metrics_server import MetricsServer, Snapshot
from tests.support.nights import echo, pulse, stage, trigger


def nothing():
    return Snapshot(b"", {}, {})


class Probed:
    """A listener whose probes answer what the test says."""

    def __init__(self, host="127.0.0.1"):
        self.metrics = Metrics()
        self.unhealthy = {}
        self.unready = {}
        self.server = MetricsServer(
            MetricsConfig(host=host, port=0),
            lambda: Snapshot(generate_latest(self.metrics.registry), self.unhealthy, self.unready),
        )
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.server.port}"

    def get(self, path):
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def value(self, name, **labels):
        families = text_string_to_metric_families(self.get("/metrics")[1])
        samples = [s for family in families for s in family.samples]
        (value,) = [s.value for s in samples if s.name == name and s.labels == labels]
        return value


@pytest.fixture(params=["127.0.0.1", "::1"])
def probed(request):
    probed = Probed(request.param)
    yield probed
    probed.server.close()


def test_the_present_stage_is_told_until_the_stream_is_staged_no_more(probed):
    where = {"stream": "cage", "subject": "m1"}
    metrics = probed.metrics

    def told():
        return [probed.value("hypnod_stage", **where, stage=s) for s in ("REM", "Wake")]

    for seq, name in enumerate(("REM", "Wake", "REM", "REM")):
        metrics.observe(stage(seq, stage=name), wall=1000.5)
    assert told() == [1, 0]
    metrics.show_state("cage", "STALLED", ["STALLED"])
    metrics.show_state("den", "FAILED", ["FAILED"])
    assert told() == [1, 0]
    metrics.show_state("cage", "RESOLVING", ["RESOLVING"])
    assert told() == [0, 0]
    metrics.observe(stage(4, stage="Wake"), wall=1000.5)
    assert told() == [0, 1]


def test_band_powers_and_the_emg_are_told_while_they_are_known(probed):
    where = {"stream": "cage", "subject": "m1"}
    told = Features(eeg_db=(10.0,) * 20, emg_db=-3.5)
    probed.metrics.observe(stage(0, features=told), wall=1000.5)
    power = probed.value("hypnod_eeg_power_decibels", **where, band="delta")
    assert power == pytest.approx(10 + 10 * math.log10(4))
    assert probed.value("hypnod_emg_power_decibels", **where) == -3.5
    probed.metrics.observe(stage(1, features=None), wall=1001.5)
    assert math.isnan(probed.value("hypnod_eeg_power_decibels", **where, band="delta"))
    assert math.isnan(probed.value("hypnod_emg_power_decibels", **where))


def test_a_live_estimate_is_counted(probed):
    probed.metrics.observe(stage(0, latency_s=0.001), wall=1000.5)
    art = stage(1, stage="ART", validity={"eeg": "ok", "emg": "clipped"}, latency_s=0.001)
    probed.metrics.observe(art, wall=1001.5)
    where = {"stream": "cage", "subject": "m1"}
    assert probed.value("hypnod_epochs_total", **where, stage="NREM") == 1
    assert probed.value("hypnod_epochs_total", **where, stage="ART") == 1
    reason = {"modality": "emg", "reason": "clipped"}
    assert probed.value("hypnod_unusable_epochs_total", **where, **reason) == 1
    assert probed.value("hypnod_latency_seconds_bucket", stream="cage", le="0.001") == 2
    assert probed.value("hypnod_last_epoch_timestamp_seconds", stream="cage") == 1001.5
    assert probed.value("hypnod_slots_filled", **where) == 16


def test_decisions_outputs_and_echoes_are_counted(probed):
    metrics, key = probed.metrics, {"rule": "rem", "subject": "m1"}
    metrics.count_triggers_from_zero("rem", "m1")
    assert probed.value("hypnod_trigger_on", **key) == 0
    assert probed.value("hypnod_pulses_total", **key, sham="no") == 0
    decisions = [
        trigger(0, "refused"),
        trigger(1, "on", ttl_s=3600.0),
        trigger(2, "on", ttl_s=3600.0),  # the same pulse
    ]
    metrics.take(Round(decisions))
    assert probed.value("hypnod_trigger_on", **key) == 1
    assert probed.value("hypnod_pulses_total", **key, sham="no") == 1
    assert probed.value("hypnod_trigger_refusals_total", **key) == 1
    metrics.take(Round([trigger(3), trigger(4, "sham", pulse=1)]))
    assert probed.value("hypnod_trigger_on", **key) == 0
    assert probed.value("hypnod_pulses_total", **key, sham="yes") == 1
    metrics.take(Round([trigger(5, "on", pulse=2, ttl_s=0.0)]))
    assert probed.value("hypnod_trigger_on", **key) == 0  # though nothing says that it is over
    metrics.take(Round([pulse("on", 0.001), pulse("off", 2.0), echo(True, 0.002, untold=2)]))
    for done in ("on", "off"):
        labels = {"driver": "serial", "subject": "m1", "done": done}
        assert probed.value("hypnod_pulse_changes_total", **labels) == 1
    assert probed.value("hypnod_echo_changes_total", subject="m1") == 3


def test_one_state_is_1(probed):
    states = ("RESOLVING", "STAGING", "STALLED")
    for state in ("RESOLVING", "STAGING"):
        probed.metrics.show_state("cage", state, states)
    shown = [probed.value("hypnod_stream_state", stream="cage", state=s) for s in states]
    assert shown == [0, 1, 0]


def test_probes_say_what_is_wrong(probed):
    assert probed.get("/healthz") == (200, '{"ok": true}')
    assert probed.get("/readyz") == (200, '{"ok": true}')
    probed.unready = {"cage": "RESOLVING: no stream matches"}
    code, text = probed.get("/readyz")
    assert code == 503
    assert json.loads(text) == {"ok": False, "problems": probed.unready}
    assert probed.get("/healthz")[0] == 200
    probed.unhealthy = {"loop": "no progress"}
    assert probed.get("/healthz")[0] == 503


def test_another_path_is_not_found(probed):
    code, text = probed.get("/metric")
    assert code == 404
    assert json.loads(text)["expected"] == ["/metrics", "/healthz", "/readyz"]
