"""`hypnod pulse`: does what triggers say, and nothing longer than they say it."""

import json
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from daemon.config import PulseConfig, load_config
from daemon.messages import TriggerMessage
from models.errors import ConfigError
from tools.client.keys import ClientKey, ServerKey, read_keys
from tools.client.subscriber import Subscriber
from tools.pulse.errors import OutputError
from tools.pulse.gate import Gate, Key
from tools.pulse.output import Output, open_output

_KEEP_ALIVE_S = 0.1


def pulse(
    config: Annotated[Path, typer.Option(help="The hypnod.toml, with [[pulse]] for each output.")],
    server_key: ServerKey = None,
    client_key: ClientKey = None,
) -> None:
    """Drive **hardware** as the triggers of a running daemon say: TTL, Open Ephys, LSL, OSC.

    Each `[[pulse]]` of the config is an output. It is on while a rule says `on` for a subject of
    its, and off once the time to live of that is over, whatever became of the daemon. Every change
    is a line of JSON on standard output. An output that fails switches all of them off, with exit
    code 12. docs/closed-loop.md goes from a board in a box to a tested rule.

        hypnod pulse --config hypnod.toml
    """
    settings = load_config(config)
    if not settings.pulse:
        raise ConfigError(f"{config}: expected [[pulse]], an output, found none")
    keys = read_keys(server_key, client_key)
    endpoint = settings.publish.bind.replace("*", "127.0.0.1")
    with _stopping() as stop, ExitStack() as stack:
        driven = [stack.enter_context(_open(each)) for each in settings.pulse]
        heard = stack.enter_context(Subscriber(endpoint, ["trigger."], keys))
        _say("ready", endpoint=endpoint, outputs=[each.config.driver for each in driven])
        run(heard, driven, stop)


class Driven:
    """One output, and whether it is on.

    Args:
        config: which rules and subjects switch it on.
        output: what is switched.
    """

    def __init__(self, config: PulseConfig, output: Output) -> None:
        self.config = config
        self._output = output
        self._on = False
        self._kept = 0.0
        self._sham: dict[Key, tuple[str, int | None]] = {}

    def follow(self, on: set[Key], wall: float) -> None:
        """Switch if need be, and keep it alive.

        Args:
            on: rules that are on, and for whom.
            wall: when that was found, Unix time, s.

        Raises:
            OutputError: it did not do so.
        """
        why = sorted(key for key in on if self._is_for(key))
        if bool(why) != self._on:
            self._output.set(on=bool(why))
            self._on, self._kept = bool(why), time.monotonic()
            done = time.time()
            _say(
                "on" if why else "off",
                output=self.config.driver,
                by=[f"{rule}/{subject}" for rule, subject in why],
                utc=datetime.fromtimestamp(done, UTC).isoformat(timespec="microseconds"),
                took_s=round(done - wall, 6),
            )
        elif time.monotonic() - self._kept >= _KEEP_ALIVE_S:
            self._output.keep_alive()
            self._kept = time.monotonic()

    def mark(self, sham: TriggerMessage) -> None:
        """Note a sham pulse, once, where it is for this output."""
        key, pulse = (sham.rule, sham.subject), (sham.session, sham.pulse)
        if self._is_for(key) and self._sham.get(key) != pulse:
            self._sham[key] = pulse
            self._output.mark_sham()
            _say("sham", output=self.config.driver, by=["/".join(key)], utc=sham.published_utc)

    def end(self) -> None:
        """Switch it off, come what may, and close it."""
        with suppress(OutputError):
            self._output.set(on=False)
        self._output.close()

    def _is_for(self, key: Key) -> bool:
        rule, subject = key
        rules, subjects = self.config.rules, self.config.subjects
        return (not rules or rule in rules) and (not subjects or subject in subjects)


def run(heard: Subscriber, driven: Sequence[Driven], stop: list[int]) -> None:
    """Follow the decisions until something is in `stop`.

    Raises:
        OutputError: an output did not do what it was told.
    """
    gate = Gate()
    while not stop:
        for received in heard.receive(gate.next_s(time.monotonic(), _KEEP_ALIVE_S / 2)):
            message = received.message
            if not isinstance(message, TriggerMessage):
                continue
            holds = gate.take(message, time.time(), time.monotonic())
            if holds and message.action == "sham":
                for each in driven:
                    each.mark(message)
        for each in driven:
            each.follow(gate.on(time.monotonic()), time.time())


@contextmanager
def _open(config: PulseConfig) -> Iterator[Driven]:
    driven = Driven(config, open_output(config.driver, config.options))
    try:
        yield driven
    finally:
        driven.end()


@contextmanager
def _stopping() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT, and give them back at the end."""
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield came
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def _say(event: str, **facts: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
    sys.stdout.flush()
