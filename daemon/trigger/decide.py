"""From live estimates to decisions: a pure function, without a clock, a file or a socket.

What it needs of time comes with each estimate, so a journal decides the same again, bit for bit.
Two clocks come: the source's, of which the epoch's end is, and the wall's. Either may be set at any
time. Where they agree on how much time has passed, so much has; where they do not, what must have
passed (a dwell, a refractory) is counted by the one that says less, and what must not be exceeded
(an on-time, a gap) by the one that says more.
"""

import math
from datetime import UTC, datetime
from random import Random
from zoneinfo import ZoneInfo

import msgspec

from daemon.messages import Action
from daemon.trigger.rules import Rule, limits_of
from daemon.trigger.sight import Sight, doubt, is_within, whole

AGREE_S = 1.0
"""Clocks that differ by no more over a hop agree: that much is jitter."""
_NIGHT_H = 12
_TINY_S = 1e-6


class Pulse(msgspec.Struct, frozen=True):
    """One that has begun and not yet ended."""

    sham: bool
    began_least: float
    began_most: float
    began_real: float
    began_utc: float
    began_age_s: float = 0.0
    cut: bool = False
    """Whether a restart came: nobody said `off`, so it may have lasted until the next decision."""


class RuleState(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule remembers of one subject. Times are s by its own two clocks, `least`, `most`."""

    hop: int = -1
    """The last one seen."""
    end: float = 0.0
    utc: float = 0.0
    age_s: float = 0.0
    """Of the last one; 0 where it is not known."""
    least: float = 0.0
    """So much time has passed at least since the rule first saw the subject."""
    most: float = 0.0
    """And so much at most."""
    real: float = 0.0
    """As `least`, by when the estimates came: later ones may have waited less than earlier ones."""
    since: float | None = None
    """`least` when the present stay in the stages began; None out of them."""
    within: float | None = None
    """`most` when the subject was last seen in the stages, and `out` the same by `least`."""
    out: float = 0.0
    seen: float | None = None
    """`most` when the subject was last seen at all."""
    wait_s: float | None = None
    """A stay was long enough, and so long out of the stages must follow."""
    pulse: Pulse | None = None
    followed: bool = False
    """Of a yoked rule: its pulse was the longest, and that of its leader still goes on."""
    n_pulses: int = 0
    free_at: float = 0.0
    """`least` at which the refractory ends, and `free_real` the same by `real`."""
    free_real: float = 0.0
    starts: tuple[float, ...] = ()
    """`least` at the last pulses' beginnings, as many as the highest cap looks at."""
    armed_at: float | None = None
    """`least` when it was armed; None: it is not."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule says of one subject at one hop."""

    action: Action
    """`on`: be on for `ttl_s`. `sham`: as `on`, but only marked. `off`: nothing asks for a pulse,
    or nothing can be trusted. `refused`: the stages ask for one, the rule does not allow it."""
    reason: str
    """Why, in words."""
    ttl_s: float = 0.0
    """Of `on` and `sham`: for so long from now, unless it is said again, s."""
    pulse: int | None = None
    """Of `on` and `sham`: which pulse of this rule and subject it is, from 0."""


Decided = tuple[RuleState, Decision]


def decide(rule: Rule, state: RuleState, sight: Sight) -> Decided:
    """Return what a rule says of an estimate, and its state after that."""
    if sight.hop <= state.hop:  # never twice
        return state, Decision(action="off", reason=f"hop {sight.hop} was decided on before")
    state = _pass_time(state, sight)
    if state.pulse is not None and state.pulse.cut:
        state = _end(rule, sight.subject, state, state.pulse)
    state = _watch(rule, state, sight)
    if state.pulse is not None:
        return _go_on(rule, state, state.pulse, sight)
    return _begin(rule, state, sight)


def interrupted(state: RuleState) -> RuleState:
    """Return the state after a restart: a pulse does not go on, a stay begins anew."""
    if state.pulse is not None:
        pulse = msgspec.structs.replace(state.pulse, cut=True)
        state = msgspec.structs.replace(state, pulse=pulse)
    return _leave(state)


def _pass_time(state: RuleState, sight: Sight) -> RuleState:
    by_source, by_wall = sight.end - state.end, sight.utc - state.utc
    if state.hop < 0:
        by_source = by_wall = 0.0
    real = max(0.0, min(by_source, by_wall))
    if abs(by_source - by_wall) <= AGREE_S:
        real, by_wall = by_wall, by_source
    return msgspec.structs.replace(
        state,
        hop=sight.hop,
        end=sight.end,
        utc=sight.utc,
        age_s=sight.age_s if sight.age_s is not None and math.isfinite(sight.age_s) else 0.0,
        least=state.least + max(0.0, min(by_source, by_wall)),
        most=state.most + max(0.0, by_source, by_wall),
        real=state.real + real,
    )


def _watch(rule: Rule, state: RuleState, sight: Sight) -> RuleState:
    """Note for how long the subject has been in the stages or out of them, and the rule armed."""
    armed_at = None
    if sight.armed or rule.armed == "always":
        armed_at = state.least if state.armed_at is None else state.armed_at
    # what was not seen for long may have been anything
    unseen = state.seen is None or _gap(state, state.seen, sight) > rule.gap_s
    stays = state.within is not None and _gap(state, state.within, sight) <= rule.gap_s
    state = msgspec.structs.replace(
        state,
        armed_at=armed_at,
        since=state.since if stays else None,
        wait_s=None if unseen else state.wait_s,
        followed=state.followed and sight.leads,
    )
    if doubt(rule, sight) is not None:
        return state
    state = msgspec.structs.replace(state, seen=state.most)
    if not is_within(rule, sight):
        return state
    since = state.least - sight.hop_s if state.since is None else state.since
    wait_s = state.wait_s
    if rule.wait_s is not None and wait_s is None and state.least - since >= rule.dwell_s - _TINY_S:
        wait_s = _draw(rule, sight.subject, state.n_pulses, "wait", rule.wait_s)
    return msgspec.structs.replace(
        state, since=since, within=state.most, out=state.least, wait_s=wait_s
    )


def _gap(state: RuleState, last: float, sight: Sight) -> float:
    """Return for how long something was not seen since, s; half a hop is none."""
    return state.most - last - 1.5 * sight.hop_s


def _begin(rule: Rule, state: RuleState, sight: Sight) -> Decided:
    if (why := doubt(rule, sight)) is not None:
        return state, Decision(action="off", reason=why)
    if (missing := _missing(rule, state, sight)) is not None:
        return state, Decision(action="off", reason=missing)
    if (forbidden := _closed(rule, state, sight) or _too_soon(rule, state)) is not None:
        state = msgspec.structs.replace(state, wait_s=None)  # it does not wait for being allowed
        return state, Decision(action="refused", reason=forbidden)
    sham = _random(rule, sight.subject, state.n_pulses, "sham").random() < rule.sham
    kept = max(rule.per_hour or 0, rule.per_night or 0)
    pulse = Pulse(sham, state.least, state.most, state.real, state.utc, state.age_s)
    starts = (*state.starts, state.least)[-kept:] if kept else ()
    state = msgspec.structs.replace(
        state, pulse=pulse, n_pulses=state.n_pulses + 1, starts=starts, wait_s=None
    )
    return state, _say_on(rule, state, pulse, sight, _asking(rule, state))


def _go_on(rule: Rule, state: RuleState, pulse: Pulse, sight: Sight) -> Decided:
    if _left_s(rule, state, pulse) <= _TINY_S:
        state = _end(rule, sight.subject, state, pulse)
        state = msgspec.structs.replace(state, followed=sight.leads)
        return state, Decision(action="off", reason=f"on for {rule.on_s:g} s, the longest")
    untrusted = doubt(rule, sight)
    if untrusted is not None and rule.hold == "time" and rule.yoked_to is None:
        return state, Decision(action="off", reason=untrusted)  # it may go on once that is over
    reason = untrusted or _closed(rule, state, sight) or _left(rule, state, sight)
    if reason is not None:
        state = _end(rule, sight.subject, state, pulse)
        return state, Decision(action="off", reason=reason)
    return state, _say_on(rule, state, pulse, sight, "goes on")


def _end(rule: Rule, subject: str, state: RuleState, pulse: Pulse) -> RuleState:
    refractory_s = _draw(rule, subject, state.n_pulses, "refractory", rule.refractory_s)
    state = msgspec.structs.replace(
        state,
        pulse=None,
        free_at=min(state.least, pulse.began_least + rule.on_s) + refractory_s,
        free_real=min(state.real, pulse.began_real + rule.on_s) + refractory_s,
        wait_s=None,
    )
    return _leave(state) if rule.dwell_anew else state


def _leave(state: RuleState) -> RuleState:
    return msgspec.structs.replace(state, since=None, within=None, wait_s=None)


def _say_on(rule: Rule, state: RuleState, pulse: Pulse, sight: Sight, reason: str) -> Decision:
    return Decision(
        action="sham" if pulse.sham else "on",
        reason=reason,
        ttl_s=min(rule.ttl_hops * sight.hop_s, _left_s(rule, state, pulse)),
        pulse=state.n_pulses - 1,
    )


def _left_s(rule: Rule, state: RuleState, pulse: Pulse) -> float:
    """Return for how long a pulse may last from now, also where estimates come later than first.

    By their age they do so, too, where the wall's clock was set back meanwhile.
    """
    passed_s = state.most - pulse.began_most
    later_s = state.age_s - pulse.began_age_s
    return rule.on_s - max(passed_s, passed_s + later_s, state.utc - pulse.began_utc)


def _missing(rule: Rule, state: RuleState, sight: Sight) -> str | None:
    """Return what a pulse waits for; None where nothing is missing."""
    if rule.yoked_to is not None:
        if state.followed:
            return f"this pulse of {rule.yoked_to.subject} was followed for {rule.on_s:g} s"
        return None if sight.leads else f"{rule.yoked_to.subject} is not stimulated"
    if rule.wait_s is not None and state.wait_s is not None:
        out_s = state.least - state.out
        over = out_s >= state.wait_s - _TINY_S and not is_within(rule, sight)
        return None if over else f"out of the stages for {whole(out_s)} of {whole(state.wait_s)} s"
    if state.since is None or not is_within(rule, sight):
        return f"{sight.stage}, {100 * sight.probabilities.get(sight.stage, 0.0):.0f} %"
    dwelt_s = state.least - state.since
    if dwelt_s < rule.dwell_s - _TINY_S:
        return f"{sight.stage} for {whole(dwelt_s)} of {rule.dwell_s:g} s"
    return None


def _asking(rule: Rule, state: RuleState) -> str:
    if rule.yoked_to is not None:
        return f"{rule.yoked_to.subject} is stimulated"
    if rule.wait_s is not None:
        return f"out of {'/'.join(rule.stages)} for {whole(state.least - state.out)} s"
    return f"{'/'.join(rule.stages)} for {whole(state.least - (state.since or 0.0))} s"


def _left(rule: Rule, state: RuleState, sight: Sight) -> str | None:
    """Return why a pulse need not go on; None where it does."""
    if rule.yoked_to is not None:
        return None if sight.leads else f"{rule.yoked_to.subject} is no longer stimulated"
    if rule.hold == "time" or is_within(rule, sight):
        return None
    out_s = math.inf if state.within is None else state.most - state.within
    over = out_s >= rule.exit_s - _TINY_S
    return f"{sight.stage}, out of the stages for {whole(out_s)} s" if over else None


def _closed(rule: Rule, state: RuleState, sight: Sight) -> str | None:
    """Return why the rule does not act at all now, None where it does."""
    if state.armed_at is None:
        return "not armed"
    if rule.hours is None and rule.minutes is None:
        return None
    local = datetime.fromtimestamp(sight.utc, UTC).astimezone(ZoneInfo(rule.time_zone))
    minute = local.minute + local.second / 60
    if rule.hours is not None and not _lies_in(local.hour + minute / 60, rule.hours):
        return f"{local:%H:%M} is not within the hours"
    if rule.minutes is not None and not _lies_in(minute, rule.minutes):
        return f"{local:%H:%M} is not within the minutes"
    return None


def _too_soon(rule: Rule, state: RuleState) -> str | None:
    """Return why no pulse may begin yet, None where one may."""
    since_armed_s = state.least - (state.armed_at or 0.0)
    if since_armed_s < rule.leave_out_s - _TINY_S:
        return f"armed for {whole(since_armed_s)} s, the first {rule.leave_out_s:g} s are left out"
    refractory_s = max(state.free_at - state.least, state.free_real - state.real)
    if refractory_s > _TINY_S:
        return f"refractory for another {whole(refractory_s)} s"
    for cap, hours in ((rule.per_hour, 1), (rule.per_night, _NIGHT_H)):
        recent = sum(state.least - at < hours * 3600.0 for at in state.starts)
        if cap is not None and recent >= cap:
            return f"{recent} pulses within {hours} h, the most"
    return None


def _lies_in(value: float, window: tuple[float, float]) -> bool:
    first, last = window
    return first <= value < last if first < last else value >= first or value < last


def _draw(rule: Rule, subject: str, n: int, what: str, seconds: float | tuple[float, ...]) -> float:
    return _random(rule, subject, n, what).uniform(*limits_of(seconds))


def _random(rule: Rule, subject: str, n: int, what: str) -> Random:
    """Return the same numbers for the same draw, whenever it is made."""
    return Random(f"{rule.seed}/{rule.name}/{subject}/{n}/{what}")  # noqa: S311  no secret
