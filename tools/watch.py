"""`hypnod watch`: what the daemon says, live in a terminal."""

import json
import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.live import Live

from daemon.config import load_config
from daemon.errors import AddressError
from daemon.messages import TraceMessage
from tools.client.follower import Follower, Start
from tools.client.keys import ClientKey, ServerKey, read_keys
from tools.client.subscriber import DEFAULT_ENDPOINT, Received, Subscriber
from tools.client.where import CatchUp, Connect, dial_config
from tools.shared.plain import plain_console
from tools.shared.times import Since, parse_time
from tools.view.live import LiveView

_REDRAW_S = 0.1
_REDRAW_WHOLE_S = 1.0
_QUIET_S = 0.5
"""What was said last comes in one burst: after a pause of this length it is complete."""
_STRIP = 200
"""Messages of each topic that fill the widest strip."""
_PATIENCE_S = 1.0

SILENT_EXIT = 1


def watch(
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="The daemon's config, for both addresses."),
    ] = None,
    connect: Connect = "",
    catch_up: CatchUp = "",
    since: Since = "",
    server_key: ServerKey = None,
    client_key: ClientKey = None,
    once: Annotated[
        bool, typer.Option("--once", help="Show what was said last, and exit.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=0, help="With --once: longest wait for a daemon, s.")
    ] = 6.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print every message as a line of JSON.")
    ] = False,
) -> None:
    """Show **every stream and subject live**: stage, probabilities, the last epochs, quality.

    One cell of the strip is one live estimate, one a hop (`[staging] hop_s`), the newest on the
    right: ▇ Wake, ▅ REM, ▂ NREM, × artefact, · unknown, blank where there is none. *latency* is
    from the arrival of the epoch's last sample to publishing, *age* how long ago the epoch ended.
    The daemon need not run yet, and may be restarted. What was said before, or was missed, is
    fetched from the daemon's journal; with --since the strip shows all of it, the commonest stage
    in each cell. Ctrl-C ends.

        hypnod watch --config hypnod.toml

        hypnod watch --json | jq -r 'select(.kind == "live") | [.subject, .epoch, .stage] | @tsv'

        hypnod watch --json --since 18:00 >> night.jsonl    # from then on, and then live

    A daemon with keys needs --server-key and --client-key, which `hypnod keygen` makes; to the
    wrong ones it is silent.

    With --once the exit code is 1 where no daemon answers.
    """
    if config is not None:
        publish = load_config(config).publish
        connect = connect or dial_config(publish.bind)
        catch_up = catch_up or dial_config(publish.catchup_bind)
    keys = read_keys(server_key, client_key)
    first = -1 if once else None if as_json else -_STRIP
    start = Start(since=parse_time(since)) if since else Start(first=first)
    try:
        with Follower(
            connect or DEFAULT_ENDPOINT,
            catch_up=catch_up or None,
            start=start,
            patience_s=_PATIENCE_S,
            keys=keys,
        ) as follower:
            if once:
                _show_once(follower, timeout, as_json=as_json)
            elif as_json:
                _print_json(follower)
            else:
                _show_live(follower, whole=bool(since))
    except AddressError as error:
        raise typer.BadParameter(str(error)) from error
    except KeyboardInterrupt:
        return


def to_json_line(received: Received) -> str:
    """Return a message as one line of JSON: its topic, then its fields."""
    fields = msgspec.to_builtins(received.message)
    return json.dumps({"topic": received.topic, **fields}, ensure_ascii=False)


def _print_json(subscriber: Subscriber) -> None:
    while True:
        for received in subscriber.receive(timeout_s=1.0):
            if not isinstance(received.message, TraceMessage):  # which somebody else looks at
                typer.echo(to_json_line(received))


def _show_live(subscriber: Subscriber, *, whole: bool) -> None:
    view = LiveView(subscriber, whole=whole)
    redraw_s = _REDRAW_WHOLE_S if whole else _REDRAW_S
    with Live(view, auto_refresh=False, vertical_overflow="crop") as live:
        drawn = 0.0
        while True:
            for received in subscriber.receive(timeout_s=_REDRAW_S):
                view.update(received)
                drawn = _redraw(live, drawn, redraw_s)  # a night comes in one go, and takes a while
            drawn = _redraw(live, drawn, redraw_s)


def _redraw(live: Live, drawn: float, every_s: float) -> float:
    """Draw when it is time; return when that was the last time."""
    now = time.monotonic()
    if now - drawn < every_s:
        return drawn
    live.refresh()
    return now


def _show_once(subscriber: Subscriber, timeout_s: float, *, as_json: bool) -> None:
    """Show what was said last: it comes as soon as the subscription has arrived."""
    said = _receive_burst(subscriber, timeout_s)
    if not said:
        plain_console(stderr=True, soft_wrap=True).print(
            f"no daemon answered at {subscriber.endpoint} within {timeout_s:g} s; "
            "is it running, is this its publish.bind, and does it know your key, if it wants one?"
        )
        raise typer.Exit(SILENT_EXIT)
    view = LiveView(subscriber)
    for received in said:
        view.update(received)
        if as_json:
            typer.echo(to_json_line(received))
    if not as_json:
        Console().print(view)


def _receive_burst(subscriber: Subscriber, timeout_s: float) -> list[Received]:
    said = list(subscriber.receive(timeout_s))
    end = time.monotonic() + timeout_s
    while said and time.monotonic() < end:
        more = list(subscriber.receive(_QUIET_S))
        if not more:
            break
        said += more
    return said
