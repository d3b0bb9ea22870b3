"""The page of a cohort: one file, whole, harmless, with what the archive holds, counted by hand."""

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from models.errors import RecordingError
from models.recordings.bouts import bouts_of
from models.stages import MOUSE, to_indices
from tests.support.archive import write_night
from tests.support.pages import Page, browse, check_reads_as_meant
from tools.archive.estimates import read_estimates
from tools.archive.folder import ArchiveFolder
from tools.cli import app

EVIL = "<b onload=alert(1)>&\"' é"
NAMES = (f"lab/{EVIL}/night.edf", "lab/m2/one.edf", "lab/m2/two.edf")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory, cluster):
    """Two subjects, one of whom was recorded twice, and a file that is none; its folder.

    By the shipped bundle: with the small one everything is Wake, and nothing could be mistaken.
    """
    folder = tmp_path_factory.mktemp("cohort")
    for k, name in enumerate(NAMES):
        write_night(folder / name, seconds=150 + 50 * k, seed=k)
    (folder / "lab" / "broken.edf").write_bytes(b"no EDF at all")
    words = ["score", str(folder / "lab"), "--out", str(folder / "out")]
    at = ["--scheduler", cluster.scheduler_address]
    found = CliRunner().invoke(app, ["archive", *words, *at])
    assert isinstance(found.exception, RecordingError)
    write_page(folder, "page.html")
    return folder


def write_page(folder: Path, name: str) -> str:
    words = ["archive", "summary", str(folder / "out"), "--html", str(folder / name)]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0, found.output
    return (folder / name).read_text("utf-8")


def finals(folder: Path, name: str) -> list[str]:
    _, estimates = read_estimates(ArchiveFolder(folder / "out").estimates_path(name))
    return [e.stage for e in estimates if e.kind == "final"]


def test_it_needs_nothing_else_and_runs_nothing(cohort):
    html = (cohort / "page.html").read_text("utf-8")
    page = Page(html)
    assert not {"script", "link", "iframe", "form", "img", "b"} & {*page.tags}
    sources = [value for name, value in page.attributes if name in ("href", "src", "action")]
    targets = {f"#{value}" for name, value in page.attributes if name == "id"}
    assert {*sources} == targets
    assert len(targets) == 4
    assert "default-src 'none'" in html
    assert any(EVIL in cell for cell in page.cells)


def test_its_numbers_are_those_of_the_estimates(cohort):
    cells = Page((cohort / "page.html").read_text("utf-8")).cells
    for name in NAMES:
        stages = finals(cohort, name)
        row = cells[cells.index(name) :]
        for stage, cell in zip(MOUSE, row[3:6], strict=True):
            n = stages.count(stage)
            assert cell == f"{n / 3600:.2f} h, {100 * n / len(stages):.1f} %"
        bouts = bouts_of(to_indices(stages, MOUSE), 1.0, MOUSE)
        assert row[7] == str(sum(bouts.n.values()))
    one, two = finals(cohort, NAMES[0]), finals(cohort, NAMES[1]) + finals(cohort, NAMES[2])
    wake = [100 * stages.count("Wake") / len(stages) for stages in (one, two)]
    at = cells.index("share of staged time")
    assert cells[at + 1] == f"{np.mean(wake):.1f} % ± {np.std(wake, ddof=1):.1f}"


def test_every_recording_has_its_hypnogram_or_its_sentence(cohort):
    html = (cohort / "page.html").read_text("utf-8")
    assert html.count("<svg") == 3
    drawn = html.split("<svg")[1:]
    by_subject = sorted(NAMES, key=lambda name: name.split("/")[1])
    for name, svg in zip(by_subject, drawn, strict=True):
        stages = finals(cohort, name)
        runs = 1 + sum(a != b for a, b in pairwise(stages))
        strokes = re.findall(r'd="([^"]*)" stroke=', svg.split("</svg>")[0])
        assert sum(path.count("M") for path in strokes) == runs
    assert "expected an EDF or BDF header" in Page(html).text


def test_a_browser_reads_it_as_it_was_meant(cohort, tmp_path):
    check_reads_as_meant(cohort / "page.html", tmp_path)


def test_its_wide_table_is_printed_across(cohort, tmp_path):
    pdf = tmp_path / "page.pdf"
    browse(cohort / "page.html", tmp_path, f"--print-to-pdf={pdf}")
    sizes = re.findall(rb"/MediaBox \[0 0 (\d+)[\d.]* (\d+)", pdf.read_bytes())
    assert sizes
    assert all(int(width) > int(height) for width, height in sizes)


def test_estimates_that_were_altered_are_told_and_not_shown(cohort):
    place = ArchiveFolder(cohort / "out").estimates_path(NAMES[1])
    whole = place.read_bytes()
    altered = bytearray(whole)
    altered[100] ^= 1
    place.write_bytes(altered)
    try:
        html = write_page(cohort, "altered.html")
    finally:
        place.write_bytes(whole)
    assert html.count("<svg") == 2
    assert "it was altered" in Page(html).text
