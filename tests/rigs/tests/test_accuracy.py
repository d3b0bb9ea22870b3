"""The page of accuracy, and what it says of a recording that nobody scored."""

import msgspec
import numpy as np
import pytest

from engines.bundle import open_bundle
from models.errors import RecordingError
from models.recordings.hypnograms.read import read_hypnogram
from tests.rigs.accuracy.goals import Goal, goals
from tests.rigs.accuracy.measured import Accuracy, Awake
from tests.rigs.accuracy.page import sections, write_page
from tests.rigs.accuracy.real_mice import RealMice, look_at_one
from tests.rigs.accuracy.real_mouse import look_at
from tests.rigs.accuracy.real_mouse_figure import draw_real_mouse
from tests.rigs.accuracy.silver import write_labelled
from tests.rigs.accuracy.threshold_scorer import EPOCH_S
from tests.support.bundles import TINY, make_bundle
from tests.support.paths import ROOT
from tests.support.recordings.edf import write_channels
from tools.shared.measure import describe_machine

DOCS = ROOT / "docs"
STAGES = ("Wake", "NREM", "REM")
SECONDS, SFREQ = 80, 256
OUTSIDE = "subject,onset,duration,stage\nfront,0,40,Wake\nfront,40,40,NREM\nback,0,80,NREM\n"
SEEN = 'onset,duration,stage,seen\n0,30,Wake,"runs, or so it seems"\n30,50,NREM,sleeps\n'


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A recording whose first half is loud, looked at in every way."""
    folder = tmp_path_factory.mktemp("real")
    rng = np.random.default_rng(0)
    data = rng.normal(0, 20, (2, SECONDS * SFREQ))
    data[0] += 60 * np.sin(4 * np.pi * np.arange(SECONDS * SFREQ) / SFREQ)  # delta
    data[1, : SECONDS * SFREQ // 2] *= 8
    write_channels(folder / "mouse.edf", data, ("EEG", "EMG"), SFREQ)
    (folder / "other-1.0.csv").write_text(OUTSIDE, encoding="utf-8")
    (folder / "seen.csv").write_text(SEEN, encoding="utf-8")
    bundle = open_bundle(make_bundle(folder, **TINY))
    found = look_at(folder / "mouse.edf", bundle, folder / "other-1.0.csv", folder / "seen.csv")
    return folder, found


def test_everybody_is_compared_with_everybody_in_epochs_of_4_s(night) -> None:
    report = night[1].report
    names = ["hypnod final", "hypnod live", "by eye", "rule", "other 1.0 front", "other 1.0 back"]
    assert [*night[1].hypnograms] == [*report.seconds] == [*report.agreement] == names
    assert {len(found) for found in night[1].hypnograms.values()} == {SECONDS // EPOCH_S}
    assert report.seconds["rule"]["Wake"] == 40
    assert report.agreement["rule"]["other 1.0 front"].n_epochs == SECONDS // EPOCH_S
    assert report.agreement["rule"]["other 1.0 front"].confusion[0][0] == 40 / EPOCH_S
    # Of the 30 s that are Wake by eye, the epoch from 28 s on is a tie that goes to sleep.
    assert {stage: s.n_epochs for stage, s in report.signals.items()} == {"Wake": 7, "NREM": 13}
    assert report.signals["Wake"].emg_uv[1] == pytest.approx(160, rel=0.2)


def test_the_picture_is_small_enough_for_a_page(night) -> None:
    folder, found = night
    draw_real_mouse(folder / "real.png", folder / "mouse.edf", found)
    assert (folder / "real.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "real.png").stat().st_size < 200_000


def test_a_page_is_filled_between_its_marks_and_only_there(tmp_path, night) -> None:
    page = tmp_path / "accuracy.md"
    names = [*sections(Accuracy()), "ablations"]
    page.write_text("".join(f"text\n<!-- {n} -->\nbefore\n<!-- /{n} -->\n" for n in names))
    (tmp_path / "ablations.md").write_text("| what it is worth |\n", encoding="utf-8")
    write_page(page, Accuracy(real=night[1].report))
    filled = page.read_text(encoding="utf-8")
    assert "before" not in filled
    assert filled.startswith("text\n<!-- goals -->\n\n*Not measured yet.*\n")
    assert filled.count("*Not measured yet.*") == len(names) - 2
    assert "| hypnod final |" in filled
    assert "| what it is worth |" in filled
    write_page(page, Accuracy(real=night[1].report))
    assert page.read_text(encoding="utf-8") == filled
    page.write_text("<!-- goals -->")
    with pytest.raises(RecordingError, match="expected the marks <!-- goals --> and"):
        write_page(page, Accuracy())


def test_a_goal_is_met_within_its_bound_and_missed_beyond_it() -> None:
    machine = describe_machine()
    awake = Awake(bundle="b 1", date="2026-11-29", machine=machine, asleep=(0.06, 0.0))
    (met,) = goals(Accuracy(awake=awake))
    assert (met.found, met.met) == (0.03, True)
    (missed,) = goals(Accuracy(awake=msgspec.structs.replace(awake, asleep=(0.08, 0.0))))
    assert not missed.met
    page = sections(Accuracy(awake=awake))
    assert page["goals"].endswith("| ≤ 0.03 | 0.030 | met |")
    assert "3.0 % of the epochs were called sleep" in page["awake"]
    assert not Goal("κ", 0.7, None).met
    assert Goal("κ", 0.7, 0.7).met


def test_the_page_in_docs_says_what_was_measured(tmp_path) -> None:
    known = msgspec.json.decode((DOCS / "accuracy.json").read_bytes(), type=Accuracy)
    copy = tmp_path / "accuracy.md"
    copy.write_bytes((DOCS / "accuracy.md").read_bytes())
    if (DOCS / "ablations.md").exists():
        copy.with_name("ablations.md").write_bytes((DOCS / "ablations.md").read_bytes())
    write_page(copy, known)
    assert copy.read_text(encoding="utf-8") == (DOCS / "accuracy.md").read_text(encoding="utf-8")


def test_what_is_to_be_seen_covers_the_real_recording_without_a_gap() -> None:
    seen = read_hypnogram(DOCS / "real-mouse-seen.csv", STAGES)
    ends = (seen.onsets + seen.durations).tolist()
    assert seen.onsets.tolist() == [0, *ends[:-1]]
    assert ends[-1] == 1742


def test_a_real_mouse_is_held_against_each_scorer_and_where_they_agree(night, tmp_path) -> None:
    folder, bundle = night[0], open_bundle(make_bundle(tmp_path / "bundle", **TINY))
    scorers = ("somnus", "misleep_frontal", "misleep_parietal", "consensus")
    rows = [f"{4 * k},4,Wake,Wake,NREM,n/a" for k in range(10)]
    rows += [f"{4 * k},4,NREM,NREM,NREM,NREM" for k in range(10, 20)]
    text = "\n".join([",".join(("onset", "duration", *scorers)), *rows])
    (folder / "mouse_scorers.csv").write_text(f"{text}\n", encoding="utf-8")
    agreed, somnus = look_at_one(folder / "mouse.edf", bundle)
    assert (agreed.n_epochs, somnus.n_epochs) == (10, 20)
    assert [*agreed.kappa] == ["hypnod live", "hypnod final", "offline teacher", "rule"]
    assert [*somnus.kappa] == [*agreed.kappa, "misleep_frontal", "misleep_parietal"]
    assert (somnus.kappa["misleep_frontal"], somnus.kappa["misleep_parietal"]) == (1.0, 0.0)
    assert somnus.kappa["rule"] == pytest.approx(1.0)
    real = RealMice(bundle="b 1", rows=(agreed, somnus))
    named = [msgspec.structs.replace(r, file="mouse_31min") for r in real.rows]
    found = goals(Accuracy(real_mice=RealMice(bundle="b 1", rows=tuple(named))))
    assert [(g.name, g.found) for g in found] == [
        ("mouse_31min, where the three scorers agree: κ live", agreed.kappa["hypnod live"]),
        ("mouse_31min, where the three scorers agree: κ final", agreed.kappa["hypnod final"]),
        ("mouse_31min, somnus-eeg, all epochs: κ final", somnus.kappa["hypnod final"]),
    ]
    page = sections(Accuracy(real_mice=real))
    row = page["real-mice"].splitlines()[-1]
    assert row.startswith("| mouse | somnus-eeg, all epochs | 20 |")
    copy = write_labelled(folder / "mouse.edf", folder / "labelled")
    lines = copy.with_suffix(".csv").read_text(encoding="utf-8").splitlines()
    assert (lines[1], lines[-1]) == ("0,4,UNKNOWN", "76,4,NREM")
    assert copy.read_bytes() == (folder / "mouse.edf").read_bytes()
