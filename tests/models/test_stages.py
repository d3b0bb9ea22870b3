import pytest

from models.stages import (
    ART,
    COLOURS,
    HUMAN,
    MOUSE,
    UNKNOWN,
    UNSCORED,
    find_stage,
    from_indices,
    to_indices,
)


def test_every_stage_has_a_colour() -> None:
    assert set(COLOURS) == {*MOUSE, *HUMAN, ART, UNKNOWN}


@pytest.mark.parametrize(
    ("text", "stages", "stage"),
    [
        ("Wake", MOUSE, "Wake"),
        (" w ", MOUSE, "Wake"),
        ("SWS", MOUSE, "NREM"),
        ("paradoxical sleep", MOUSE, "REM"),
        ("Sleep stage W", HUMAN, "W"),
        ("Sleep stage 4", HUMAN, "N3"),
        ("Sleep stage R", HUMAN, "REM"),
        ("Movement time", HUMAN, ART),
        ("Sleep stage ?", HUMAN, UNKNOWN),
    ],
)
def test_the_ways_the_world_writes_stages(text, stages, stage):
    assert find_stage(text, stages) == stage


def test_other_text_is_no_stage():
    assert find_stage("lights off", MOUSE) is None


def test_indices_and_back():
    hypnogram = ["Wake", "NREM", ART, "REM", UNKNOWN]
    indices = to_indices(hypnogram, MOUSE)
    assert indices.tolist() == [0, 1, UNSCORED, 2, UNSCORED]
    assert from_indices(indices, MOUSE) == ["Wake", "NREM", UNKNOWN, "REM", UNKNOWN]
