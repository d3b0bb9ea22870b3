"""The subscriber in the README, run as it stands there."""

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from daemon.config import PublishConfig, PulseConfig
from daemon.sockets.publisher import Publisher
from tests.support.nights import stage
from tests.support.paths import ROOT
from tools.pulse.command import Driven
from tools.pulse.gate import Pulse
from tools.pulse.output import open_output


@pytest.fixture
def publisher():
    with Publisher(PublishConfig(bind="tcp://127.0.0.1:*")) as publisher:
        yield publisher


@pytest.fixture
def loop(publisher, tmp_path):
    """The process, which says whether it would stimulate."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    (code,) = (block for block in blocks if "zmq.SUB" in block)
    assert "tcp://127.0.0.1:5570" in code
    file = tmp_path / "loop.py"
    file.write_text(code.replace("tcp://127.0.0.1:5570", publisher.endpoint), "utf-8")
    with subprocess.Popen([sys.executable, file], stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_the_driver_of_five_lines_is_found_and_switched(tmp_path, monkeypatch, capsys):
    text = (ROOT / "README.md").read_text("utf-8")
    (code,) = (b for b in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "Output" in b)
    assert len([line for line in code.splitlines() if line]) <= 5
    (group, point) = re.search(r'entry-points\."(.*?)"\]` and `(.*?)`', text).groups()
    (tmp_path / "my_package.py").write_text(code, "utf-8")
    info = tmp_path / "own-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{point.replace(chr(34), '')}\n")
    monkeypatch.syspath_prepend(tmp_path)
    driven = Driven(PulseConfig(driver="my-laser"), open_output("my-laser", {}), lambda *_: None)
    driven.follow({Pulse("rem", "m1", "s", 0)}, 0.0)
    driven.end()
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if not line.startswith("{")] == ["on", "off"]


def test_it_is_on_for_a_fresh_and_sure_live_stage_alone(loop, publisher):
    def say(seq, late_s=0.0, **changes):
        composed = datetime.now(UTC) - timedelta(seconds=late_s)
        sure = {"stage": "REM", "confidence": 0.95, "published_utc": composed.isoformat()}
        publisher.publish(stage(seq, **(sure | changes)))
        publisher.serve(0.001)

    assert publisher.socket.poll(60_000), "it did not subscribe"
    publisher.serve(0)
    for seq, (expected, said) in enumerate(
        (
            ("on", {}),
            ("off", {"stage": "NREM"}),
            ("on", {}),
            ("off", {"confidence": 0.8}),
            ("on", {}),
            ("off", {"age_s": 0.6}),
            ("on", {}),
            ("off", {"late_s": 1.0}),  # it waited in a queue
            ("on", {}),
            ("off", {"age_s": -30.0}),
            ("on", {"lead_off": -4.2}),
            ("off", {"lead_off": 0.1}),
            ("on", {"lead_off": None}),
        )
    ):
        say(seq, **said)
        assert loop.stdout.readline() == f"{expected}\n"
    for other in ({"kind": "final"}, {"subject": "m10"}):
        say(20, **other)
    assert loop.stdout.readline() == "off\n"  # since it has heard nothing more for it
