"""What each derivation of a polysomnogram sees of brain, eyes and muscles.

Gains of amplitude over C3-M2, of eye movements over E1-M2. The rhythms' places are those of the
AASM manual (Berry et al., version 3, 2023): slow waves and K-complexes largest frontally, spindles
centrally and slower in front, alpha over the occiput, vertex and sawtooth waves over the vertex.
A derivation of two near electrodes, such as Pz-Oz, sees less of all that both share.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Site:
    """One derivation; a gain below 0 sees a wave upside down."""

    label: str
    """As a polysomnogram calls its channel."""
    background: float = 1.0
    slow_wave: float = 1.0
    """Of slow waves and K-complexes."""
    spindle: float = 1.0
    slower_hz: float = 0.0
    """By how much spindles are slower there, Hz."""
    alpha: float = 0.55
    """Over the occiput's."""
    theta: float = 1.0
    vertex: float = 1.0
    """Of vertex and sawtooth waves."""
    muscle: float = 1.0
    horizontal: float = 0.04
    """Of eye movements to the left and right."""
    vertical: float = 0.08
    """Of eye movements up and down, and blinks."""
    heart: float = 1.0
    shared: float = 0.0
    """Coherence of an EOG's background with an EEG's."""


EEG_SITES = (
    Site("EEG C3-M2"),
    Site("EEG C4-M1"),
    Site("EEG C3-A2"),
    Site("EEG C4-A1"),
    Site(
        "EEG F3-M2",
        slow_wave=1.2,
        spindle=0.85,
        slower_hz=0.8,
        alpha=0.35,
        vertex=0.7,
        horizontal=0.06,
        vertical=0.2,
    ),
    Site(
        "EEG F4-M1",
        slow_wave=1.2,
        spindle=0.85,
        slower_hz=0.8,
        alpha=0.35,
        vertex=0.7,
        horizontal=-0.06,
        vertical=0.2,
    ),
    Site("EEG O1-M2", slow_wave=0.65, spindle=0.5, alpha=1.0, vertex=0.4, vertical=0.01),
    Site("EEG O2-M1", slow_wave=0.65, spindle=0.5, alpha=1.0, vertex=0.4, vertical=0.01),
    Site(
        "EEG Fpz-Cz",
        background=0.8,
        slow_wave=0.9,
        spindle=0.7,
        slower_hz=0.5,
        alpha=0.25,
        theta=0.8,
        vertex=-0.7,
        muscle=1.1,
        vertical=0.45,
        heart=0.3,
    ),
    Site(
        "EEG Pz-Oz",
        background=0.6,
        slow_wave=0.4,
        spindle=0.5,
        alpha=0.6,
        theta=0.6,
        vertex=0.4,
        muscle=0.6,
        horizontal=0.01,
        vertical=0.02,
        heart=0.2,
    ),
)

_ONE_EYE = Site(
    "EOG E1-M2",
    background=0.75,
    slow_wave=0.75,
    spindle=0.3,
    slower_hz=0.8,
    alpha=0.2,
    theta=0.7,
    vertex=0.3,
    muscle=1.2,
    horizontal=1.0,
    vertical=-0.5,
    shared=0.6,
)
_BOTH_EYES = Site(
    "EOG E1-E2",
    background=0.5,
    slow_wave=0.25,
    spindle=0.1,
    alpha=0.08,
    theta=0.4,
    vertex=0.03,
    muscle=1.2,
    horizontal=1.8,
    vertical=-0.9,
    heart=0.2,
    shared=0.2,
)
EOG_SITES = (
    _ONE_EYE,
    Site(**{**vars(_ONE_EYE), "label": "EOG E2-M1", "horizontal": -1.0, "vertical": 0.6}),
    Site(**{**vars(_ONE_EYE), "label": "EOG E2-M2", "horizontal": -1.0, "vertical": 0.6}),
    _BOTH_EYES,
    Site(**{**vars(_BOTH_EYES), "label": "EOG horizontal", "vertical": 0.1}),
)
