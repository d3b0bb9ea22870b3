"""What one sees while `hypnod demo` runs: a live view, or lines where there is no terminal."""

import time
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from daemon.messages import Action, TriggerMessage
from tools.client.subscriber import Received, Subscriber
from tools.demo.report import Collector
from tools.shared.measure import percentiles
from tools.view.live import LiveView

_REDRAW_S = 0.1
_LINE_S = 5.0


class Screen:
    """Shows the messages as they come; drawn between messages, so that it delays none.

    Args:
        subscriber: where they come from.
        collector: what has come.
        console: where to show it.
    """

    def __init__(self, subscriber: Subscriber, collector: Collector, console: Console) -> None:
        self._collector = collector
        self._console = console
        self._view = LiveView(subscriber, collector.truth)
        self._progress = Progress(
            TextColumn("live stages"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        )
        self._task = self._progress.add_task("", total=collector.expected)
        self._live = Live(
            Group(Text(), self._view, Text(), self._progress),
            console=console,
            auto_refresh=False,
            vertical_overflow="crop",
        )
        self._drawn = time.monotonic()
        self._said: dict[str, Action] = {}

    def show(self, received: Received) -> None:
        """Take in a message."""
        self._view.update(received)
        if isinstance(received.message, TriggerMessage) and not self._console.is_terminal:
            self._print_trigger(received.message)

    def refresh(self) -> None:
        """Draw, if the last time is long enough ago."""
        now = time.monotonic()
        if self._console.is_terminal and now - self._drawn >= _REDRAW_S:
            self._drawn = now
            self._redraw()
        elif not self._console.is_terminal and now - self._drawn >= _LINE_S:
            self._drawn = now
            self._print_line()

    def _redraw(self) -> None:
        self._progress.update(self._task, completed=self._collector.count("live"))
        self._live.refresh()

    def _print_line(self) -> None:
        latency = percentiles(self._collector.latencies_s)
        timing = "" if latency is None else f", latency p50 {latency.p50:.1f} ms"
        n = self._collector.count("live")
        self._console.print(f"{n} of {self._collector.expected} live stages{timing}")

    def _print_trigger(self, message: TriggerMessage) -> None:
        """Say what a rule does to a subject now, where that is something else."""
        former = self._said.get(message.subject, "off")
        self._said[message.subject] = message.action
        if message.action != former:
            self._console.print(
                f"{message.subject}: {message.rule} {message.action}: {message.reason}"
            )

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._console.is_terminal:
            self._redraw()
            self._live.stop()
