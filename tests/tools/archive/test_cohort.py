"""The cohort at a glance, in the terminal."""

from io import StringIO

from models.stages import ART, HUMAN, MOUSE, UNKNOWN
from tools.archive.cohort import StageTime, SubjectRow, print_cohort
from tools.shared.plain import plain_console


def row(subject, seconds, stages=MOUSE, rate=10.0):
    times = dict(zip((*stages, ART, UNKNOWN), seconds, strict=True))
    return SubjectRow(
        recording="lab/n.edf",
        subject=subject,
        start=None,
        hours=sum(seconds) / 3600,
        stages={
            stage: StageTime(
                seconds=s, share=None, bouts=1 if stage in stages else None, mean_bout_s=None
            )
            for stage, s in times.items()
        },
        transitions_per_hour=rate,
        wake_to_rem_per_hour=None,
        drift={},
        contradictions=(),
        remarks=(),
        model="",
        hypnod="",
    )


def drawn(*rows, width=200):
    file = StringIO()
    print_cohort(plain_console(file=file, width=width, soft_wrap=True), rows)
    return file.getvalue().splitlines()


def printed(*rows):
    _, _, *lines = drawn(*rows)
    return [line.split() for line in lines]


def test_a_short_recording_counts_as_little_as_it_is_long():
    (found,) = printed(row("m", [3000, 600, 0, 0, 0]), row("m", [360, 40, 0, 0, 0], rate=50.0))
    assert found == ["m", "2", "1.1", "84.0", "16.0", "0.0", "0.0", "0.0", "14.0"]


def test_a_stage_that_a_model_does_not_know_is_no_zero():
    mice = [row("m1", [50, 50, 0, 0, 0]), row("m2", [30, 70, 0, 0, 0])]
    *_, mean, sd = printed(*mice, row("p", [20, 20, 20, 20, 20, 0, 0], HUMAN))
    assert mean[3:] == ["40.0", "60.0", "6.7", "0.0", "0.0", "20.0", "20.0", "20.0", "20.0"]
    assert sd[2:] == ["14.1", "14.1", "11.5", "0.0", "0.0", "–", "–", "–", "–"]


def test_a_terminal_of_80_columns_holds_mice_and_people_and_cuts_no_name():
    name = "mouse_eeg_emg_29min_of_a_long_project/m1"
    mouse, person = row(name, [360000, 0, 0, 0, 0]), row("p", [20, 20, 20, 20, 20, 0, 0], HUMAN)
    lines = drawn(mouse, person, width=80)
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if "…" in line]
    assert lines[1].split() == [
        *("subject", "n", "hours", "Wake", "NREM", "REM", "ART", "UNKNOWN", "W", "N1", "N2"),
        *("N3", "changes/h"),
    ]
    assert name in "".join(line.split()[0] for line in lines[2:-3])
