"""What `hypnod demo` shows of each species: how many, for how long, how fast, and which rule."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What is shown where the options say nothing else."""

    subjects: int
    minutes: float
    """Length of the recording, min."""
    speed: str
    """Times real time."""
    web_subjects: int
    web_minutes: float
    trigger_minutes: float
    trigger_time_scale: float
    """Divides the bouts of what is shown in real time: see `SIMULATORS`."""
    every_stage_from: float
    """Minutes of sleep that mostly have room for every stage: from so many on there is some."""
    rule: dict[str, Any]
    """Of --trigger, as in the config."""
    data: str
    """Where the data come from, in words."""


SCENES = {
    "mouse": Scene(
        subjects=4,
        minutes=10.0,
        speed="15",
        web_subjects=8,
        web_minutes=60.0,
        trigger_minutes=4.0,
        trigger_time_scale=1.0,
        every_stage_from=0.0,
        # two seconds of REM, a pulse of two seconds, and again, after a first minute
        rule={
            "name": "rem-restriction",
            "stages": ["REM"],
            "probability": 0.7,
            "dwell_s": 2.0,
            "on_s": 2.0,
            "leave_out_s": 60.0,
            "armed": "always",
        },
        data="simulated mice; no animal was recorded",
    ),
    "human": Scene(
        subjects=2,
        minutes=120.0,
        speed="120",
        web_subjects=4,
        web_minutes=180.0,
        trigger_minutes=6.0,
        trigger_time_scale=10.0,  # nobody is in N3 within six minutes
        every_stage_from=60.0,
        # a sound of two seconds in N3, and again after ten; a window of a few minutes does
        rule={
            "name": "nrem-sound",
            "species": "human",
            "stages": ["N2", "N3"],
            "probability": 0.6,
            "dwell_s": 10.0,
            "on_s": 2.0,
            "hold": "time",
            "dwell_anew": False,
            "refractory_s": 8.0,
            "usable": 0.05,
            "leave_out_s": 30.0,
            "armed": "always",
        },
        data="simulated people; nobody was recorded",
    ),
}
"""By species, one of `models.stages.SPECIES`."""
