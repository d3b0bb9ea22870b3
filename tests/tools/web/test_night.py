"""A night that is over, corrected by hand."""

import hashlib
import http.client
import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import edfio
import msgspec
import pytest
from typer.testing import CliRunner

from daemon.journal.reader import JournalReader
from models.recordings.hypnograms.read import read_hypnogram
from models.stages import HUMAN, MOUSE
from tests.support.nights import EVENING, human_stage, iso, session, stage, write_journal
from tests.support.talker import FEATURES
from tests.tools.web.conftest import serve
from tools.cli import app
from tools.live.history import LETTERS, NOTHING
from tools.night.record import Selection
from tools.web.night import Night

expect = pytest.importorskip("playwright.sync_api", reason="needs playwright").expect
N = 600
SPAN = {"start": EVENING + 100, "end": EVENING + 130, "stage": "REM"}


@pytest.fixture(scope="module")
def journal(tmp_path_factory):
    path = tmp_path_factory.mktemp("night") / "journal.sqlite"
    epochs = [
        stage(k, name, kind, features=FEATURES if kind == "live" else None)
        for name in ("m1", "m2")
        for kind in ("live", "final")
        for k in range(N)
    ]
    return write_journal(path, epochs, session(config='{"day": {"lights_on": "07:00"}}'))


@pytest.fixture
def night(journal, tmp_path):
    before = hashlib.sha256(journal.read_bytes()).digest()
    with serve("--night", str(journal), "--out", str(tmp_path)) as server:
        yield server
    assert hashlib.sha256(journal.read_bytes()).digest() == before


def post(url, content, kind="application/json", name="m1"):
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=20)
    headers = {"Content-Type": kind}
    connection.request("POST", f"/api/subjects/{name}/scoring", json.dumps(content), headers)
    answer = connection.getresponse()
    status, body = answer.status, answer.read().decode()
    connection.close()
    return status, body


def rem_of(path):
    """Return from when to when a file says REM, as an expert's file is read."""
    hypnogram, _ = read(path)
    bouts = hypnogram.merged()
    spans = zip(bouts.onsets.tolist(), bouts.durations.tolist(), bouts.stages, strict=True)
    return [(onset, onset + length) for onset, length, name in spans if name == "REM"]


def read(path):
    return read_hypnogram(path, MOUSE), path


def test_a_span_is_given_a_stage_undone_and_saved(night, tmp_path, open_page):
    page = open_page(f"{night.url}#/m1")
    past = page.get_by_role("group", name="The night")
    expect(past.locator(".u-over").first).to_be_visible()
    box = past.locator(".u-over").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20, steps=5)
    page.mouse.up()
    told = page.get_by_role("region", name="Correct by hand").locator(".shown")
    expect(told).to_contain_text("is selected; 0 corrections")
    page.keyboard.press("r")
    expect(told).to_contain_text("1 correction")
    page.keyboard.press("Control+z")
    expect(told).to_contain_text("0 corrections")
    page.get_by_role("button", name="N: NREM").click()
    expect(told).to_contain_text("1 correction")
    page.keyboard.press("Control+z")  # though the button has the focus
    expect(told).to_contain_text("0 corrections")
    page.get_by_role("button", name="R: REM").click()
    page.reload()
    expect(told).to_contain_text("1 correction")  # a closed tab loses nothing
    page.get_by_label("Your name").fill("Ada L.")
    page.get_by_role("button", name="save as EDF+ and CSV").click()
    expect(page.get_by_text(re.compile(r"saved, \d+ epochs corrected"))).to_be_visible()
    (edf,) = tmp_path.glob("m1-Ada-L-*.edf")
    ((start, end),) = rem_of(edf)
    assert start == pytest.approx(N / 4, abs=5)
    assert end == pytest.approx(N / 2, abs=5)


def test_a_keyboard_selects_too(night, open_page):
    page = open_page(f"{night.url}#/m2")
    past = page.get_by_role("group", name="The night")
    expect(past.locator(".u-over").first).to_be_visible()
    past.focus()
    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("w")
    told = page.get_by_role("region", name="Correct by hand").locator(".shown")
    expect(told).to_contain_text("is selected; 1 correction")


def test_a_stage_is_drawn_only_where_there_is_an_epoch(night, open_page):
    page = open_page(f"{night.url}#/m1")
    expect(page.get_by_role("group", name="The night")).to_be_visible()
    drawn = page.evaluate("""async () => {
      const { Scoring } = await import("/static/scoring.js");
      const { store } = await import("/static/store.js");
      const scoring = new Scoring("m1", () => {});
      scoring.spans = [{ start: 0, end: 3, stage: "REM" }];
      return scoring.correct({ start: 0, step_s: 1, stages: store.about.nothing + "aaa" }).stages;
    }""")
    assert drawn == f"{NOTHING}{LETTERS['REM'] * 2}a"


def test_both_files_say_who_and_when_and_are_read_as_an_expert_s(night, tmp_path):
    status, body = post(night.url, {"scorer": "Ada L.", "spans": [SPAN]})
    saved = json.loads(body)
    assert (status, saved["epochs_changed"]) == (200, 30)
    edf, csv = sorted(tmp_path.iterdir(), key=lambda path: path.suffix, reverse=True)
    assert saved["files"] == [str(edf), str(csv)]
    assert rem_of(edf) == rem_of(csv) == [(100.0, 130.0)]
    assert re.search(
        rb"scored by Ada L\., 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", edf.read_bytes()
    )
    began = edfio.read_edf(edf)  # by which it is laid onto a recording
    local = datetime.fromtimestamp(EVENING, UTC).astimezone().replace(tzinfo=None)
    assert datetime.combine(began.startdate, began.starttime) == local
    header, first, *rows = csv.read_text("utf-8").splitlines()
    assert header == "onset,duration,stage,utc,scored_by,scored_utc,corrected"
    assert first.startswith(f"0.0,1.0,NREM,{iso(EVENING)},Ada L.,20")
    assert sum(row.endswith(",yes") for row in rows) == 30


def test_a_later_span_holds_and_nothing_is_written_over(night, tmp_path):
    wake = SPAN | {"start": EVENING + 120, "end": EVENING + 125, "stage": "Wake"}
    for scorer in ("Ada", "Bo"):
        assert post(night.url, {"scorer": scorer, "spans": [SPAN, wake]})[0] == 200
    assert len(list(tmp_path.glob("m1-*"))) == 4
    (edf,) = tmp_path.glob("m1-Bo-*.edf")
    assert rem_of(edf) == [(100.0, 120.0), (125.0, 130.0)]


def test_the_folder_is_made_or_refused_in_one_sentence(journal, tmp_path):
    out = tmp_path / "scored" / "ada"
    with serve("--night", str(journal), "--out", str(out)) as server:
        assert post(server.url, {"scorer": "Ada", "spans": [SPAN]})[0] == 200
    assert len(list(out.iterdir())) == 2
    done = CliRunner().invoke(app, ["web", "--night", str(journal), "--out", str(journal)])
    assert done.exception.exit_code == 6
    assert "--out: expected a folder to write to, found:" in str(done.exception)


def test_who_saves_twice_in_a_second_has_files_of_each(night, tmp_path):
    def save(k):
        return post(night.url, {"scorer": "Ada", "spans": [SPAN | {"end": EVENING + 110 + k}]})

    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(save, range(8)))
    assert [status for status, _ in answers] == [200] * 8
    saved = [json.loads(body) for _, body in answers]
    assert sorted(tmp_path.iterdir()) == sorted(Path(name) for s in saved for name in s["files"])
    assert [rem_of(Path(s["files"][0])) for s in saved] == [[(100.0, 110.0 + k)] for k in range(8)]


def test_a_browser_tells_journals_of_one_name_apart_by_where_they_lie(journal, monkeypatch):
    monkeypatch.chdir(journal.parent)
    shown = Night(JournalReader(Path(journal.name)), Selection())
    assert shown.daemon.endpoint == str(journal.resolve())


def test_a_name_that_cannot_be_written_is_one_sentence(night):
    status, body = post(night.url, {"scorer": "<b>Ada</b>", "spans": [SPAN]})
    assert (status, body) == (
        400,
        "expected a name of 1 to 60 letters, digits, spaces and . , ' -, found '<b>Ada</b>'",
    )


@pytest.mark.parametrize(
    ("changes", "kind", "name", "status"),
    [
        ({"spans": [SPAN | {"stage": "N1"}]}, "application/json", "m1", 400),
        ({"scorer": "../../x"}, "application/json", "m1", 400),
        ({"scorer": ""}, "application/json", "m1", 400),
        ({"more": 1}, "application/json", "m1", 400),
        ({}, "text/plain", "m1", 415),
        ({}, "application/json", "nobody", 404),
    ],
)
def test_what_is_none_is_refused(night, tmp_path, changes, kind, name, status):
    content = {"scorer": "Ada", "spans": [SPAN], **changes}
    assert post(night.url, content, kind, name)[0] == status
    assert list(tmp_path.iterdir()) == []


def test_of_a_live_page_nothing_can_be_saved(server):
    assert post(server.url, {"scorer": "Ada", "spans": []})[0] == 404


def test_a_persons_night_has_five_stages_their_keys_and_no_emg(tmp_path, open_page):
    features = msgspec.structs.replace(FEATURES, emg_db=None)
    epochs = [
        human_stage(k, "p1", kind, stage=HUMAN[k % 5], features=features)
        for kind in ("live", "final")
        for k in range(100)
    ]
    path = write_journal(tmp_path / "journal.sqlite", epochs, session())
    with serve("--night", str(path), "--out", str(tmp_path)) as server:
        page = open_page(f"{server.url}#/p1")
        past = page.get_by_role("group", name="The night")
        expect(past.locator(".u-over").first).to_be_visible()
        expect(past.locator(".u-over")).to_have_count(3)  # hypnogram, hypnodensity, spectrogram
        for name in HUMAN:
            expect(past.get_by_role("rowheader", name=name)).to_be_visible()
        given = page.get_by_role("toolbar", name="Give the selected span a stage")
        expect(given.get_by_role("button")).to_have_text(
            ["W: W", "1: N1", "2: N2", "3: N3", "R: REM", "A: ART", "U: UNKNOWN", "undo (Ctrl-Z)"]
        )


def test_a_person_in_rem_alone_is_drawn_on_the_levels_of_people(tmp_path, open_page):
    """As wherever somebody zooms into REM: a mouse's REM lies elsewhere."""
    epochs = [
        human_stage(k, "p1", kind, stage="REM") for kind in ("live", "final") for k in range(100)
    ]
    path = write_journal(tmp_path / "journal.sqlite", epochs, session())
    with serve("--night", str(path), "--out", str(tmp_path)) as server:
        page = open_page(f"{server.url}#/p1")
        plot = page.get_by_role("img", name="Stage")
        expect(plot).to_be_visible()
        top, bottom = plot.locator("canvas").evaluate("""(canvas) => {
          const { width, height } = canvas;
          const column = canvas.getContext("2d").getImageData(width / 2, 0, 1, height).data;
          const rem = [0xc2, 0x40, 0x7e];
          const rows = [];
          for (let y = 0; y < height; y++) {
            if (rem.every((c, i) => column[4 * y + i] === c)) rows.push(y / height);
          }
          return [rows[0], rows.at(-1)];
        }""")
        assert 0 < bottom - top < 1 / 5  # of five levels, not of three
