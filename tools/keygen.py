"""`hypnod keygen`: CURVE keys for the daemon and for those who may listen to it."""

import json
import re
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from daemon.sockets.keys import SERVER_NAME, write_pair

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def keygen(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write the two files.")],
    server: Annotated[bool, typer.Option("--server", help="Keys of the daemon.")] = False,
    client: Annotated[
        str | None, typer.Option(metavar="NAME", help="Keys of the client of this name.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the files' paths as a line of JSON.")
    ] = False,
) -> None:
    """Make **keys**, so that only whom you know can listen: NAME.key and NAME.key_secret.

    The `.key` is public. The `.key_secret` stays where it is used, for its owner's eyes alone.
    Files that exist are never overwritten. docs/security.md shows the whole way.

        hypnod keygen /etc/hypnod/keys --server

        hypnod keygen /etc/hypnod/keys --client dashboard

    Exit code 3 where a file exists already or cannot be written.
    """
    if server == (client is not None):
        raise typer.BadParameter("expected one of --server and --client NAME")
    name = SERVER_NAME if client is None else client
    if not _NAME.fullmatch(name):
        raise typer.BadParameter(
            f"--client: expected a name of letters, digits, '_', '.' and '-', found {name!r}"
        )
    public, secret = write_pair(folder, name)
    if as_json:
        typer.echo(json.dumps({"name": name, "public": str(public), "secret": str(secret)}))
        return
    advice = _for_server if server else _for_client
    Console(soft_wrap=True, highlight=False, markup=False).print(advice(public, secret))


def _for_server(public: Path, secret: Path) -> str:
    return (
        f"{secret}  the daemon's secret: [security] secret_key = "
        f'"{secret.resolve()}", or with systemd /etc/credstore/{secret.name}\n'
        f"{public}  give it to every client: hypnod watch --server-key {public.name}"
    )


def _for_client(public: Path, secret: Path) -> str:
    return (
        f"{secret}  the client's secret: move it to where it runs, "
        f"hypnod watch --client-key {secret.name}\n"
        f"{public}  copy it into the folder that [security] clients names, then make the daemon "
        "read it: systemctl reload hypnod, or kill -HUP"
    )
