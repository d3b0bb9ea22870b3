"""What the user wants of a closed loop: `[[triggers]]` of the config, typed and checked.

A rule says in which stage, how surely, for how long, how often and when to stimulate, and for how
long at most. `decide.py` turns it and live estimates into decisions.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from models.errors import ConfigError
from models.signal.montage import Name
from models.spec import ModelSpec
from models.stages import ART, UNKNOWN

Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=86400)]
# of two, but no tuple[Seconds, Seconds]: in a union with Seconds that ends msgspec 0.22's process
Limits = Annotated[tuple[Seconds, ...], msgspec.Meta(min_length=2, max_length=2)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1000)]
Hour = Annotated[float, msgspec.Meta(ge=0, le=24)]
Minute = Annotated[float, msgspec.Meta(ge=0, le=60)]

_OF_STAGES = (
    "stages",
    "probability",
    "evidence",
    "dwell_s",
    "gap_s",
    "dwell_anew",
    "wait_s",
    "exit_s",
)


class Leader(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whose pulses a yoked rule repeats."""

    rule: Name
    """Name of the rule."""
    subject: Name
    """The subject that it stimulates."""


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When to stimulate.

    Whatever it allows, it never does so on an estimate that cannot be trusted: old, ART, UNKNOWN,
    of another pathway, of too few epochs, beyond the alarm of drift.
    """

    name: Name
    """In messages and for `hypnod arm`, unique in the file."""
    subjects: tuple[Name, ...] = ()
    """Whom it stimulates; default: every subject."""
    species: Literal["mouse", "human"] = "mouse"
    """Whom it is meant for; with a bundle of another species the daemon does not start."""

    stages: tuple[str, ...] = ()
    """The stages asked for, of the bundle's set."""
    probability: Fraction = 0.5
    """Least probability of these stages together."""
    evidence: Fraction = 0.0
    """Least of the net's own probability of these stages together, before the grammar."""
    pathways: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = ("mixed",)
    """What an estimate may be read from; by default not from one modality alone."""
    usable: Fraction = 0.5
    """Least share of the context window that holds usable epochs."""
    max_age_s: Annotated[float, msgspec.Meta(gt=0, le=60)] = 1.0
    """Highest `age_s` of an estimate that may switch on, s. One that is from the future by as much
    is refused as well: its source's clock is wrong."""

    dwell_s: Seconds = 0.0
    """For so long the subject must have been in the stages, s."""
    gap_s: Seconds = 0.0
    """Out of them for no longer than this, it counts as having stayed, s; below `dwell_s`."""
    dwell_anew: bool = True
    """Whether after a pulse the subject must stay for `dwell_s` again."""
    wait_s: Seconds | Limits | None = None
    """Begin only when, after such a stay, the subject has been out of the stages for so long, s, or
    for a time drawn anew between two limits. Default: begin within the stages."""

    on_s: Annotated[float, msgspec.Meta(gt=0, le=86400)]
    """Longest a pulse lasts, s."""
    hold: Literal["stage", "time"] = "stage"
    """What ends a pulse before: leaving the stages, or nothing but what cannot be trusted, for as
    long as that lasts."""
    exit_s: Seconds = 0.0
    """Leaving the stages ends a pulse once the subject has been out for so long, s."""
    refractory_s: Seconds | Limits = 0.0
    """After a pulse none begins for so long, s, or for a time drawn anew between two limits."""
    per_hour: Count | None = None
    """Most pulses that begin within any hour."""
    per_night: Count | None = None
    """Most pulses that begin within any 12 hours."""
    ttl_hops: Annotated[int, msgspec.Meta(ge=1, le=10)] = 2
    """Whoever hears of no new `on` for so many hops is off."""

    armed: Literal["by hand", "always"] = "by hand"
    """Whether it acts only between `hypnod arm` and `hypnod disarm`."""
    leave_out_s: Seconds = 0.0
    """For so long after it was armed, or first saw the subject, it does not begin, s."""
    hours: tuple[Hour, Hour] | None = None
    """Only within these hours of the day, such as `[20, 8]`, in `time_zone`."""
    minutes: tuple[Minute, Minute] | None = None
    """Only within these minutes of each hour, such as `[0, 20]`."""
    time_zone: str = "UTC"
    """Whose hours these are, such as `Europe/Paris`."""

    sham: Fraction = 0.0
    """Share of the pulses, drawn at random, that are only marked: nothing is switched on."""
    seed: int = 0
    """What is drawn follows from this, the rule's name and the subject."""
    yoked_to: Leader | None = None
    """Stimulate whenever another is, whatever the subject's own stage is, such as
    `{ rule = "rem", subject = "m1" }`."""

    def __post_init__(self) -> None:
        self._check_stages()
        self._check_times()
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(
                f"time_zone: expected one such as Europe/Paris, found {self.time_zone!r}"
            ) from error

    def _check_stages(self) -> None:
        if self.yoked_to is not None:
            usual = {f.name: f.default for f in msgspec.structs.fields(self)}
            other = [n for n in _OF_STAGES if getattr(self, n) != usual[n]]
            if other:
                raise ValueError(f"expected yoked_to without {other[0]}, found both")
            return
        if not self.stages or len({*self.stages} - {ART, UNKNOWN}) < len(self.stages):
            raise ValueError(
                "stages: expected stages, each once, or yoked_to, "
                f"found {', '.join(self.stages) or 'neither'}"
            )
        if self.gap_s >= self.dwell_s and self.gap_s > 0:
            raise ValueError(
                f"gap_s: expected less than dwell_s, {self.dwell_s:g} s, found {self.gap_s:g}"
            )

    def _check_times(self) -> None:
        for name in ("wait_s", "refractory_s"):
            limits = getattr(self, name)
            if isinstance(limits, tuple) and limits[0] > limits[1]:
                raise ValueError(f"{name}: expected the lower limit first, found {limits}")
        if self.wait_s is not None:
            if self.hold != "time":
                raise ValueError(
                    'expected hold = "time" with wait_s, since the pulse begins out of the stages, '
                    'found hold = "stage"'
                )
            if limits_of(self.wait_s)[0] <= self.gap_s:
                raise ValueError(
                    f"wait_s: expected more than gap_s, {self.gap_s:g} s, found {self.wait_s}"
                )
        if self.hold == "time" and self.exit_s > 0:
            raise ValueError('expected exit_s with hold = "stage" only, found hold = "time"')
        for name, whole in (("hours", 24.0), ("minutes", 60.0)):
            window = getattr(self, name)
            if window is not None and (window[0] == window[1] or window == (whole, 0.0)):
                raise ValueError(f"{name}: expected a beginning and another end, found {window}")
        if self.per_hour and self.per_night and self.per_hour > self.per_night:
            raise ValueError(
                f"per_hour: expected at most per_night, {self.per_night}, found {self.per_hour}"
            )

    def is_for(self, subject: str) -> bool:
        """Whether it stimulates this subject."""
        return not self.subjects or subject in self.subjects


def limits_of(seconds: float | tuple[float, ...]) -> tuple[float, float]:
    """Return the limits that a time is drawn between; of a fixed one twice itself."""
    return (seconds[0], seconds[-1]) if isinstance(seconds, tuple) else (seconds, seconds)


def check_rules(rules: Sequence[Rule], subjects: Sequence[str]) -> None:
    """See that rules fit each other and the subjects of a config.

    Raises:
        ConfigError: a name is there twice or unknown, or a rule is yoked to one that is yoked.
    """
    names = [rule.name for rule in rules]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"expected every trigger's name once, found twice: {', '.join(twice)}")
    by_name = {rule.name: rule for rule in rules}
    for rule in rules:
        if unknown := [s for s in rule.subjects if s not in subjects]:
            raise ConfigError(
                f"trigger {rule.name!r}: expected subjects of the streams, found {unknown[0]!r}"
            )
        if rule.yoked_to is not None:
            _check_leader(rule, rule.yoked_to, by_name, subjects)


def _check_leader(
    rule: Rule, leader: Leader, by_name: Mapping[str, Rule], subjects: Sequence[str]
) -> None:
    of = by_name.get(leader.rule)
    if of is None or of.yoked_to is not None:
        raise ConfigError(
            f"trigger {rule.name!r}: expected yoked_to a rule that is not yoked itself, "
            f"found {leader.rule!r}"
        )
    if leader.subject not in subjects or not of.is_for(leader.subject):
        raise ConfigError(
            f"trigger {rule.name!r}: expected yoked_to a subject of the rule {leader.rule!r}, "
            f"found {leader.subject!r}"
        )
    if rule.is_for(leader.subject):
        raise ConfigError(
            f"trigger {rule.name!r}: expected subjects other than {leader.subject!r}, which it is "
            "yoked to, found it among them"
        )


def check_model(rules: Sequence[Rule], spec: ModelSpec) -> None:
    """See that rules are for what a model stages.

    Raises:
        ConfigError: it is of another species, or knows no such stage or pathway.
    """
    for rule in rules:
        if rule.species != spec.species:
            raise ConfigError(
                f"trigger {rule.name!r}: expected a bundle for the species {rule.species!r}, "
                f"found one for {spec.species!r}: correct species of the trigger, or that under "
                "[engine], which chooses the bundle"
            )
        for what, asked, known in (
            ("stages", rule.stages, spec.stages),
            ("pathways", rule.pathways, spec.pathways),
        ):
            if unknown := [name for name in asked if name not in known]:
                raise ConfigError(
                    f"trigger {rule.name!r}: expected {what} of {', '.join(known)}, "
                    f"found {unknown[0]!r}"
                )
