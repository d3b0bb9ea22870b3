"""SIGTERM and SIGINT as something to look at between two steps of work."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stopping() -> Iterator[list[int]]:
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
