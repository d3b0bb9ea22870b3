"""`hypnod arm`, `hypnod disarm`: let triggers act, or no longer, and hear that the daemon heeds."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from daemon.config import Config, load_config
from daemon.errors import ArmedError
from daemon.journal.file import journal_path
from daemon.messages import TriggerMessage
from daemon.sockets.keys import ClientKeys
from daemon.trigger.armed import armed_path, read_armed, write_armed
from models.errors import ConfigError
from tools.client.keys import ClientKey, ServerKey, read_keys
from tools.client.subscriber import Subscriber, dial

Pairs = set[tuple[str, str]]
"""Rule and subject."""

_LOOK_S = 0.5  # Ctrl-C just before a wait is heeded after it
_OTHERWISE = (
    'to end its pulses now, end hypnod pulse; with armed = "by hand" in the config, and the daemon '
    "started again, it obeys"
)

ConfigPath = Annotated[Path, typer.Option("--config", help="The hypnod.toml of the daemon.")]
Rules = Annotated[list[str] | None, typer.Option("--rule", help="Of these only; repeat it.")]
Subjects = Annotated[list[str] | None, typer.Option("--subject", help="For these only; repeat it.")]
Wait = Annotated[
    float, typer.Option("--wait", min=0, help="For the daemon to say that it heeds it, s.")
]


def arm(
    config: ConfigPath,
    rule: Rules = None,
    subject: Subjects = None,
    wait_s: Wait = 10.0,
    server_key: ServerKey = None,
    client_key: ClientKey = None,
) -> None:
    """**Arm** triggers: from the next epoch on they may stimulate.

    It holds until `hypnod disarm`, over restarts of the daemon too. Run it as the user that runs
    the daemon. Unless the daemon says within --wait that it heeds it, nothing more is armed than
    before, and the exit code is 11.

        hypnod arm --config hypnod.toml

        hypnod arm --config hypnod.toml --rule rem-restriction --subject m01
    """
    _set(config, rule, subject, wait_s, read_keys(server_key, client_key), armed=True)


def disarm(
    config: ConfigPath,
    rule: Rules = None,
    subject: Subjects = None,
    wait_s: Wait = 10.0,
    server_key: ServerKey = None,
    client_key: ClientKey = None,
) -> None:
    """**Disarm** triggers: from the next epoch on they do not stimulate.

    Those that are `armed = "always"` go on. The exit code is 11 where there are any, or unless the
    daemon says within --wait that it heeds it.

        hypnod disarm --config hypnod.toml
    """
    _set(config, rule, subject, wait_s, read_keys(server_key, client_key), armed=False)


def _set(
    path: Path,
    rules: Sequence[str] | None,
    subjects: Sequence[str] | None,
    wait_s: float,
    keys: ClientKeys | None,
    *,
    armed: bool,
) -> None:
    config = load_config(path)
    pairs, always = _choose(config, rules, subjects)
    acts = f'{", ".join(always)}: armed = "always"'
    if not pairs:
        raise ConfigError(f"expected a rule that is armed by hand, found {acts}; {_OTHERWISE}")
    journal = journal_path(config.journal.path)
    if not os.path.exists(journal):  # noqa: PTH110  Path's raises where one may not look
        raise ArmedError(
            f"{journal}: expected the journal of the daemon, found none; run this as the user that "
            "runs the daemon, and with STATE_DIRECTORY=/var/lib/hypnod where systemd does"
        )
    file = armed_path(journal)
    try:
        before = read_armed(file)
    except ArmedError:
        if armed:
            raise
        before = {}  # of what cannot be read nothing is armed
    was = {(rule, subject) for rule, whom in before.items() for subject in whom}
    kept = was - pairs if rules or subjects else set()  # everything: also what the config had once
    now = was | pairs if armed else kept
    word = "armed" if armed else "disarmed"
    with Subscriber(dial(config.publish.bind), ["trigger."], keys) as heard:
        write_armed(file, _by_rule(now))
        missing = set(pairs)
        try:
            _wait(heard, missing, wait_s, armed=armed)
        finally:  # interrupted too: it would begin to stimulate whenever the daemon comes
            if armed and missing - was:
                write_armed(file, _by_rule(now - (missing - was)))
    for rule, subject in sorted(pairs - missing):
        Console(highlight=False).print(f"{word}: {rule} for {subject}")
    if missing:
        rule, subject = sorted(missing)[0]
        left = "it is left as it was" if armed else f"{file} says so"
        raise ArmedError(
            f"expected the daemon at {config.publish.bind} to say within {wait_s:g} s that "
            f"{rule} is {word} for {subject}, found no such message; {left}: see that the "
            "daemon runs, with this config and journal, and gets samples"
        )
    if always and not armed:
        raise ArmedError(f"expected rules that are armed by hand, found {acts}; {_OTHERWISE}")


def _by_rule(pairs: Pairs) -> dict[str, tuple[str, ...]]:
    return {rule: tuple(sorted(s for r, s in pairs if r == rule)) for rule, _ in sorted(pairs)}


def _choose(
    config: Config, rules: Sequence[str] | None, subjects: Sequence[str] | None
) -> tuple[Pairs, list[str]]:
    """Return which rules for whom, and rules that are always armed.

    Raises:
        ConfigError: there is none of a name.
    """
    known = [s.name for stream in config.streams for s in stream.subjects]
    names = [rule.name for rule in config.triggers]
    for what, asked, there in (("rule", rules, names), ("subject", subjects, known)):
        for name in asked or ():
            if name not in there:
                raise ConfigError(
                    f"--{what}: expected one of {', '.join(there) or 'none'}, found {name!r}"
                )
    chosen = [
        (rule, subject)
        for rule in config.triggers
        for subject in known
        if rule.is_for(subject) and rule.name in (rules or names) and subject in (subjects or known)
    ]
    if not chosen:
        raise ConfigError("expected a rule in [[triggers]] for a subject, found none")
    always = dict.fromkeys(rule.name for rule, _ in chosen if rule.armed == "always")
    return {(rule.name, s) for rule, s in chosen if rule.name not in always}, list(always)


def _wait(heard: Subscriber, missing: Pairs, wait_s: float, *, armed: bool) -> None:
    """Take from `missing` what the daemon says that it heeds, until nothing is left."""
    until = time.monotonic() + wait_s
    while missing and (left_s := until - time.monotonic()) > 0:
        for received in heard.receive(min(left_s, _LOOK_S)):
            message = received.message
            if isinstance(message, TriggerMessage) and message.armed == armed:
                missing.discard((message.rule, message.subject))
