"""`hypnod pulse`: does what triggers say, and nothing longer than they say it."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from daemon.config import PulseConfig, load_config
from daemon.errors import AddressError
from daemon.messages import Done, TriggerMessage
from models.errors import ConfigError
from tools.client.keys import ClientKey, ServerKey, read_keys
from tools.client.subscriber import Subscriber, dial
from tools.pulse.errors import OutputError
from tools.pulse.gate import Gate, Pulse
from tools.pulse.output import Output, open_output, reporting
from tools.pulse.teller import Teller
from tools.shared.stopping import stopping

_KEEP_ALIVE_S = 0.1
_UNHEARD_S = 5.0
"""Without a connection for so long, one says so."""


def pulse(
    config: Annotated[Path, typer.Option(help="The hypnod.toml, with [[pulse]] for each output.")],
    server_key: ServerKey = None,
    client_key: ClientKey = None,
) -> None:
    """Drive **hardware** as the triggers of a running daemon say: TTL, Open Ephys, LSL, OSC.

    Each `[[pulse]]` of the config is an output. It is on while a rule says `on` for a subject of
    its, and off once the time to live of that is over, whatever became of the daemon. Every change
    is a line of JSON on standard output, and told to the daemon for its journal; what keeps all of
    them off, such as a wrong clock, is a sentence on standard error. An output that
    fails switches all of them off, with exit code 12. docs/closed-loop.md goes from a board in a
    box to a tested rule.

        hypnod pulse --config hypnod.toml
    """
    settings = load_config(config)
    if not settings.pulse:
        raise ConfigError(f"{config}: expected [[pulse]], an output, found none")
    keys = read_keys(server_key, client_key)
    if settings.security.clients and keys is None:
        raise ConfigError(
            f"{config}: expected --server-key and --client-key, since [security] clients lets "
            "nobody hear without, found neither"
        )
    endpoint = dial(settings.publish.bind)
    told = _teller_endpoint(settings.publish.catchup_bind)
    with stopping() as stop, ExitStack() as stack:
        teller = stack.enter_context(Teller(told, keys))
        driven = [
            stack.enter_context(_open(each, partial(teller.tell, k)))
            for k, each in enumerate(settings.pulse)
        ]
        heard = stack.enter_context(Subscriber(endpoint, ["trigger."], keys))
        outputs = [each.config.driver for each in driven]
        _say("ready", endpoint=endpoint, told=told or None, outputs=outputs)
        run(heard, driven, teller, stop)


class Driven:
    """One output, and whether it is on.

    Args:
        config: which rules and subjects switch it on.
        output: what is switched.
        tell: told of each pulse what was done, and when, Unix time, s.
    """

    def __init__(
        self, config: PulseConfig, output: Output, tell: Callable[[Pulse, Done, float], None]
    ) -> None:
        self.config = config
        self._output = output
        self._tell = tell
        self._on: set[Pulse] = set()
        self._kept = 0.0
        self._sham: dict[tuple[str, str], Pulse] = {}

    def follow(self, on: set[Pulse], wall: float) -> None:
        """Switch if need be, and keep it alive.

        Args:
            on: the pulses that are on.
            wall: when that was found, Unix time, s.

        Raises:
            OutputError: it did not do so.
        """
        why = {pulse for pulse in on if self._is_for(pulse)}
        if bool(why) != bool(self._on):
            with reporting(self.config.driver):
                self._output.set(on=bool(why))
            self._kept = time.monotonic()
            done = time.time()
            by = why or self._on
            self._say("on" if why else "off", by, done, took_s=round(done - wall, 6))
        elif time.monotonic() - self._kept >= _KEEP_ALIVE_S:
            with reporting(self.config.driver):
                self._output.keep_alive()
            self._kept = time.monotonic()
        if why != self._on:
            self._note(why, time.time())

    def mark(self, sham: Pulse) -> None:
        """Note a sham pulse, once, where it is for this output."""
        key = sham.rule, sham.subject
        if self._is_for(sham) and self._sham.get(key) != sham:
            self._sham[key] = sham
            with reporting(self.config.driver):
                self._output.mark_sham()
            now = time.time()
            self._say("sham", {sham}, now)
            self._tell(sham, "sham", now)

    def end(self) -> None:
        """Switch it off, come what may, and close it."""
        with suppress(OutputError):
            with reporting(self.config.driver):
                self._output.set(on=False)
            self._note(set(), time.time())
        with suppress(OutputError), reporting(self.config.driver):
            self._output.close()

    def _note(self, on: set[Pulse], when: float) -> None:
        """Tell what has changed; one pulse may follow another without a change of the output."""
        for pulse in self._on - on:
            self._tell(pulse, "off", when)
        for pulse in on - self._on:
            self._tell(pulse, "on", when)
        self._on = on

    def _say(self, event: str, why: set[Pulse], when: float, **facts: float) -> None:
        by = sorted(f"{pulse.rule}/{pulse.subject}" for pulse in why)
        utc = datetime.fromtimestamp(when, UTC).isoformat(timespec="microseconds")
        _say(event, output=self.config.driver, by=by, utc=utc, **facts)

    def _is_for(self, pulse: Pulse) -> bool:
        rules, subjects = self.config.rules, self.config.subjects
        return (not rules or pulse.rule in rules) and (not subjects or pulse.subject in subjects)


def run(heard: Subscriber, driven: Sequence[Driven], teller: Teller, stop: list[int]) -> None:
    """Follow the decisions until something is in `stop`.

    Raises:
        OutputError: an output did not do what it was told.
    """
    gate, heard_at = Gate(), _clock()
    said: str | None = None
    while not stop:
        for received in heard.receive(gate.next_s(_clock(), _KEEP_ALIVE_S / 2)):
            message = received.message
            if not isinstance(message, TriggerMessage):
                continue
            sham = gate.take(message, time.time(), _clock())
            if sham is not None:
                for each in driven:
                    each.mark(sham)
        for each in driven:
            each.follow(gate.on(_clock()), time.time())
        teller.send()
        now = _clock()
        heard_at = now if heard.connected else heard_at
        trouble = _unheard(heard.endpoint) if now - heard_at > _UNHEARD_S else gate.trouble
        if trouble != said:
            _warn(trouble or "that is over: decisions are followed")
            said = trouble


def _unheard(endpoint: str) -> str:
    return (
        f"expected the daemon at {endpoint}, found none: see that it runs, that this is its "
        "publish.bind, and that it knows your key, if it wants one"
    )


def _clock() -> float:
    """Return a time that nobody sets and that goes on while the computer is suspended, s."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _teller_endpoint(bind: str) -> str:
    """Return where the daemon is told of pulses; empty where nobody can know, and none is told."""
    with suppress(AddressError):  # no reason not to stimulate
        return dial(bind)
    return ""


@contextmanager
def _open(config: PulseConfig, tell: Callable[[Pulse, Done, float], None]) -> Iterator[Driven]:
    driven = Driven(config, open_output(config.driver, config.options), tell)
    try:
        yield driven
    finally:
        driven.end()


def _warn(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")  # a console's first line takes a keep-alive's time
    sys.stderr.flush()


def _say(event: str, **facts: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
    sys.stdout.flush()
