"""`hypnod web`: every animal on one page, for a browser."""

import json
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.progress import track

from daemon.config import DayConfig, WebConfig, load_config
from daemon.errors import AddressError
from daemon.journal.reader import JournalReader
from models.errors import HypnodError, RecordingError
from tools.client.catchup import catch_up_endpoint
from tools.client.keys import ClientKey, ServerKey, read_keys
from tools.client.subscriber import DEFAULT_ENDPOINT
from tools.client.where import CatchUp, Connect, dial_config
from tools.live.board import Board
from tools.live.follow import Follow
from tools.night.command import day_of, select
from tools.night.record import Selection, find_session
from tools.night.report import check_journal
from tools.shared.day import Day
from tools.shared.plain import plain_console
from tools.shared.times import Since
from tools.web.night import Night
from tools.web.traces import Traces

if TYPE_CHECKING:
    from tools.web.server import Server


class MissingPackageError(HypnodError):
    """What the page needs is not installed."""

    exit_code = 2


def web(
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="The daemon's config, for its addresses and [web]."),
    ] = None,
    connect: Connect = "",
    catch_up: CatchUp = "",
    hours: Annotated[
        float, typer.Option(min=0.1, max=72, help="So much of the past is shown, h.")
    ] = 12.0,
    host: Annotated[str | None, typer.Option(help="Address to listen on, for [web].")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")
    ] = None,
    token: Annotated[
        Path | None, typer.Option(help="File with the token to ask for.", metavar="FILE")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="TLS certificate, PEM.", metavar="FILE")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Its secret key, PEM.", metavar="FILE")] = None,
    server_key: ServerKey = None,
    client_key: ClientKey = None,
    night: Annotated[
        Path | None,
        typer.Option(help="Show a night of this journal instead, to correct.", metavar="JOURNAL"),
    ] = None,
    session: Annotated[
        str, typer.Option(help="Of --night: one run of the daemon, its id or last.")
    ] = "",
    since: Since = "",
    until: Annotated[str, typer.Option(help="End before this time.", metavar="TIME")] = "",
    out: Annotated[
        Path, typer.Option(help="Of --night: folder for corrected stages.", metavar="DIR")
    ] = Path(),
    as_json: Annotated[
        bool, typer.Option("--json", help="Say where it listens as a line of JSON.")
    ] = False,
) -> None:
    """Show **every animal on one page** of a browser: whether it is recorded and staged.

    A process of its own that follows the daemon, which need not run yet. A tile a subject, the
    troubled ones first; a click shows hypnogram, probabilities, decisions and live signals. It is
    read-only, and nothing that a browser does costs the daemon anything but the signals that
    somebody looks at. Ctrl-C ends.

        hypnod web --config hypnod.toml    # then open http://127.0.0.1:8570

    With `--night` the page shows a night that is over, out of the journal, and needs no daemon.
    Drag over a span, or Shift and the arrows; a key gives it a stage, Ctrl-Z takes it back. What
    is saved is an expert's EDF+ and CSV in --out, with who and when; the journal stays as it is.

        hypnod web --night journal.sqlite --since 18:00 --until 08:00 --out scored

    For other machines it needs a token, a certificate and its key (`[web]`, docs/web.md); a daemon
    with keys needs --server-key and --client-key. Needs `pip install 'hypnod[web]'`.
    """
    settings, day = WebConfig(), DayConfig()
    if config is not None:
        whole = load_config(config)
        settings, day = whole.web, whole.day
        connect = connect or dial_config(whole.publish.bind)
        catch_up = catch_up or dial_config(whole.publish.catchup_bind)
    options = {"host": host, "port": port, "token": token, "certificate": certificate, "key": key}
    given: dict[str, Any] = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in options.items()
        if value is not None
    }
    settings = msgspec.structs.replace(settings, **given)
    if night is not None:
        _serve_night(night, (session, since, until), out, settings, as_json=as_json)
        return
    keys, endpoint = read_keys(server_key, client_key), connect or DEFAULT_ENDPOINT
    board = Board(endpoint, hours)
    with ExitStack() as stack:
        server = _server_class()(settings, board, hours, Day(day), Traces(endpoint, keys))
        stack.enter_context(server)
        try:
            asked = catch_up or catch_up_endpoint(endpoint)
            follow = Follow(board, endpoint, asked, hours, keys, failed=server.end)
        except AddressError as error:
            raise typer.BadParameter(str(error)) from error
        stack.callback(follow.close)
        _say(server.url, as_json=as_json)
        server.run()
    if follow.error is not None:
        raise follow.error


def _serve_night(
    journal: Path, which: tuple[str, str, str], out: Path, settings: WebConfig, *, as_json: bool
) -> None:
    """Serve a night that is over.

    Args:
        journal: it is in.
        which: session, since, until.
        out: where corrected stages go.
        settings: where to listen, and who may come.
        as_json: how to say where.
    """
    reader = JournalReader(journal)
    check_journal(reader)
    selection = select(reader, *which) or Selection(session=find_session(reader, "last"))
    console = plain_console(stderr=True)
    shown = Night(
        reader, selection, partial(track, description="reading", console=console, transient=True)
    )
    day = Day(day_of(reader, selection, {}))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordingError(f"--out: expected a folder to write to, found: {error}") from error
    with _server_class()(settings, shown, shown.hours, day, None, out) as server:
        _say(server.url, as_json=as_json)
        server.run()


def _server_class() -> "type[Server]":
    try:
        from tools.web.server import Server  # noqa: PLC0415  an extra
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"expected what the page needs, found no package {error.name}; install it with: "
            "pip install 'hypnod[web]'"
        ) from error
    return Server


def _say(url: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"event": "listening", "url": url}))
    else:
        typer.echo(f"{url} (Ctrl-C ends)")
