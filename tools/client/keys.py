"""The options of commands that connect to a daemon with keys."""

from pathlib import Path
from typing import Annotated

import typer

from daemon.sockets.keys import ClientKeys

ServerKey = Annotated[
    Path | None, typer.Option(help="The daemon's public key, hypnod.key.", metavar="FILE")
]
ClientKey = Annotated[
    Path | None, typer.Option(help="Your own secret key, NAME.key_secret.", metavar="FILE")
]


def read_keys(server_key: Path | None, client_key: Path | None) -> ClientKeys | None:
    """Return the keys, None without any.

    Raises:
        KeyFileError: one cannot be read.
    """
    if server_key is None and client_key is None:
        return None
    if server_key is None or client_key is None:
        raise typer.BadParameter("expected --server-key and --client-key together")
    return ClientKeys.read(server_key, client_key)
