"""A terminal for what others have named: files, streams, channels, stages."""

from typing import Any

from rich.console import Console


def plain_console(**options: Any) -> Console:
    """Return a console that prints `[left]` and `:m:` as they are, not as markup or a picture."""
    return Console(markup=False, emoji=False, highlight=False, **options)
