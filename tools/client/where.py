"""The options of commands that say where a daemon is."""

from typing import Annotated

import typer

from daemon.errors import AddressError
from tools.client.subscriber import DEFAULT_ENDPOINT, dial

Connect = Annotated[
    str,
    typer.Option(help="The daemon's publisher.", metavar="ENDPOINT", show_default=DEFAULT_ENDPOINT),
]
CatchUp = Annotated[
    str,
    typer.Option(
        help="Where the daemon answers who missed messages; default: the port after.",
        metavar="ENDPOINT",
    ),
]


def dial_config(bind: str) -> str:
    """Return where an address of a config is reached from this machine.

    Raises:
        BadParameter: only the daemon knows it.
    """
    try:
        return dial(bind)
    except AddressError as error:
        raise typer.BadParameter(f"{error}: give it with --connect and --catch-up") from error
