"""The report: one file, whole, harmless, and as a real browser shows it."""

import json
import re
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from daemon.messages import Features
from engines.bundle import open_bundle
from tests.support.nights import human_stage, iso, session, stage, state, trigger, write_journal
from tests.support.pages import Page, browse, check_reads_as_meant, find_chromium
from tools.cli import app
from tools.view.charts import runs_of

DUSK = datetime(2026, 1, 31, 18, 30, tzinfo=UTC).timestamp()
DAY = {"lights_on": "07:00", "zone": "UTC"}
TEXT = "W" * 900 + "N" * 1200 + "R" * 300 + "a" * 60 + "N" * 600 + "u" * 540
STAGES = {"W": "Wake", "N": "NREM", "R": "REM", "a": "ART", "u": "UNKNOWN"}
EVIL = "<b onload=alert(1)>&\"'"
FEATURES = Features(eeg_db=(20.0,) * 20, emg_db=10.0)


def messages(name="m1", text=TEXT, **options):
    features = {"features": FEATURES} | options
    return [
        stage(
            k,
            name,
            utc=iso(DUSK + k),
            stage=STAGES[letter],
            reason="flat" if letter == "u" else None,
            drift=1.4,
            **features,
        )
        for k, letter in enumerate(text)
    ]


def write(tmp_path, said, *options, day=DAY):
    path = tmp_path / "j.sqlite"
    run = session("s", DUSK, json.dumps({"streams": [], "day": day}))
    write_journal(path, said, run)
    html = tmp_path / "night.html"
    arguments = [str(path), "--session", "s", "--html", str(html), *options]
    found = CliRunner().invoke(app, ["night", *arguments])
    assert found.exit_code == 0, found.output
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix in (".html", ".part")) == [
        "night.html"
    ]
    return html.read_text("utf-8")


def test_what_is_known_of_the_precision_of_rem_is_told_of_a_shipped_bundle_alone(tmp_path):
    known, told = open_bundle(species="human").hash[:12], "precision of REM 0."
    pages = {}
    for model in (known, "1" * 12):
        (tmp_path / model).mkdir()
        pages[model] = write(tmp_path / model, messages(model=model))
    assert f"sleepdifformer-human {known}, final, of 4 subjects" in pages[known]
    assert "stages by YASA 0.7.0 of simulated people" in pages[known]  # nobody's κ on a patient
    assert [told in page for page in pages.values()] == [True, False]


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """An hour of two mice, one of which was without electrodes most of the time."""
    decided = [trigger(k, "on", pulse=0, published_utc=iso(DUSK + 2100 + k)) for k in range(3)]
    told = [state(0, reason="resumed warm: 4.0 s are missing", utc=iso(DUSK + 60))]
    folder = tmp_path_factory.mktemp("night")
    lost = messages("m2", "W" * 900 + "u" * 2700)
    html = write(folder, [*messages(), *lost, *decided, *told], "--min-bout", "5")
    return folder / "night.html", html


def test_it_needs_nothing_else_and_runs_nothing(night):
    page = Page(night[1])
    assert not {"script", "link", "iframe", "form", "img"} & {*page.tags}
    sources = [value for name, value in page.attributes if name in ("href", "src", "action")]
    assert all(re.match(r"data:image/png;base64,|#subject-", source) for source in sources)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "url(" not in night[1]
    assert "default-src 'none'" in night[1]
    assert len(night[1]) < 300_000


def test_it_says_what_was_and_by_which_rule(night):
    page = Page(night[1])
    for text in (
        "2026-01-31 18:30 to 2026-01-31 19:30 (UTC)",
        "bouts of 5 s or more, shorter ones are of the one before",
        "75.0 % without a stage: UNKNOWN: flat",
        "drift 1.4, beyond 1 for 1.00 h",
        "Trigger rem",
        "1 pulses",
        "stream cage: resumed warm",
        "First REM 0:20:00 after the first sleep",
        "ZT11",
    ):
        assert text in page.text, text
    assert "0.50 h, 60.0 %" in page.cells  # NREM of m1
    assert ["Bouts" in t and "epochs of 1 s" in t for t in page.texts].count(True) >= 2


def test_an_electrode_that_was_lost_is_to_be_looked_at_though_all_was_staged(tmp_path):
    said = [
        stage(k, utc=iso(DUSK + k), validity={"eeg": "ok", "emg": "flat" if k < 30 else "ok"})
        for k in range(100)
    ]
    page = Page(write(tmp_path, said))
    assert "EMG unusable in 30.0 % of staged time" in page.cells
    assert "Time staged without a signal, and why" in page.text
    assert page.cells[page.cells.index("emg flat") + 1].strip() == "0:00:30"


def test_light_and_dark_are_apart(night):
    """Lights go off at seven in the evening: 18:30 to 19:00 is light."""
    cells = Page(night[1]).cells
    row = cells.index("NREM", cells.index("probability"))
    assert cells[row + 1 : row + 4] == ["0.50 h, 60.0 %", "0.25 h, 50.0 %", "0.25 h, 75.0 %"]


def test_a_name_is_a_name_whatever_it_holds(tmp_path):
    said = messages(EVIL, "WWWWNNNN")
    html = write(tmp_path, [*said, *messages("m2", "WWNN")])
    page = Page(html)
    assert EVIL in page.texts
    assert "b" not in page.tags
    assert "onload" not in [name for name, _ in page.attributes]
    anchors = [value for name, value in page.attributes if name in ("id", "href")]
    anchors = [value for value in anchors if not value.startswith("data:image/png;base64,")]
    assert all(re.fullmatch(r"#?subject-[0-9a-f]+", each) for each in anchors)
    assert len({a for a in anchors if a.startswith("#")}) == 2


def test_without_lights_features_and_drift_the_rest_is_there(tmp_path):
    said = [stage(k, utc=iso(DUSK + k), stage="NREM", features=None) for k in range(600)]
    page = Page(write(tmp_path, said, day={}))
    assert "image" not in page.tags
    assert "ZT" not in page.text
    assert "Drift" not in page.text
    assert "0.17 h, 100.0 %" in page.cells


def test_of_people_there_is_no_emg_to_be_shown(tmp_path):
    without = Features(eeg_db=FEATURES.eeg_db, emg_db=None)
    said = [human_stage(k, features=without) for k in range(100)]
    page = Page(write(tmp_path, said))
    assert "EEG, Hz" in page.text
    assert "EMG" not in page.text


@pytest.mark.parametrize(
    ("start", "shown"),
    [
        ("2026-03-28T23:30", ["01:00", "03:00", "04:00"]),
        ("2026-10-24T23:30", ["02:00", "02:00", "03:00"]),
    ],
)
def test_the_clock_that_is_put_forward_or_back_is_so_on_the_axes(tmp_path, start, shown):
    begin = datetime.fromisoformat(start).replace(tzinfo=UTC).timestamp()
    said = [stage(k, utc=iso(begin + k), features=None) for k in (0, 3 * 3600 - 1)]
    page = Page(write(tmp_path, said, "--zone", "Europe/Berlin", day={}))
    hours = [text for text in page.texts if re.fullmatch(r"\d\d:00", text)]
    assert hours[:3] == shown


def test_a_night_without_any_stage_is_told_too(tmp_path):
    page = Page(write(tmp_path, messages(text="u" * 60, features=None)))
    assert "100.0 % without a stage" in page.text


def test_runs_are_those_of_the_stages_and_of_what_fills_most():
    stages = ["Wake"] * 6 + ["NREM"] * 3 + ["", "REM"]
    assert runs_of(stages, 100.0, 2.0) == [
        ("Wake", 100.0, 112.0), ("NREM", 112.0, 118.0), ("", 118.0, 120.0), ("REM", 120.0, 122.0),
    ]  # fmt: skip
    shown = runs_of(["Wake", "Wake", "REM"] * 100, 0.0, 1.0, most=100)
    assert shown == [("Wake", 0.0, 300.0)]


def test_a_browser_reads_it_as_it_was_meant(night, tmp_path):
    check_reads_as_meant(night[0], tmp_path)


def test_on_a_phone_a_keyboard_and_a_screen_reader_reach_all_of_it(night):
    """Tables are wider than a phone: they are scrolled by themselves."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    axe_api = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-core")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.goto(night[0].as_uri())
        fits = page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        found = axe_api.Axe().run(page).response["violations"]
        browser.close()
    assert fits
    assert {v["id"] for v in found if v["impact"] != "minor"} == set()


def n_pages(html, folder):
    pdf = folder / f"{html.stem}.pdf"
    browse(html, folder, f"--print-to-pdf={pdf}", "--no-pdf-header-footer")
    return len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf.read_bytes()))


def test_it_is_printed_with_each_subject_on_pages_of_its_own(tmp_path):
    """Without that the ends of some would share a page with the beginnings of others."""
    said = [m for k in range(4) for m in messages(f"m{k}", "WWWWNNNNRRRRNNNN", features=None)]
    html = write(tmp_path, said)
    without = tmp_path / "without.html"
    without.write_text(html.replace("break-before: page", ""), "utf-8")
    ours = n_pages(tmp_path / "night.html", tmp_path)
    assert ours > n_pages(without, tmp_path)
