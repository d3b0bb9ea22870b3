"""`hypnod notify`: tells a person when something is wrong, and when it no longer is."""

import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated

import typer

from daemon.config import NotifyConfig, load_config
from daemon.log import configure_log
from models.errors import ConfigError
from tools.client.follower import Follower, Start
from tools.client.keys import ClientKey, ServerKey, read_keys
from tools.client.where import dial_config
from tools.live.board import Board
from tools.live.follow import PREFIXES
from tools.notify.send import NotifyError, Sender, way_of
from tools.notify.watch import Notice, Watch, find
from tools.shared.stopping import stopping

_LOOK_S = 0.5
_PATIENCE_S = 1.0
_HOURS = 0.1  # of history, which nobody looks at
_TEST = Notice(text="a test of hypnod notify: nothing is wrong", what="test", over=True)


def notify(
    config: Annotated[Path, typer.Option(help="The hypnod.toml, with [[notify]] for each way.")],
    test: Annotated[
        bool, typer.Option("--test", help="Send one notice each way now, and exit.")
    ] = False,
    server_key: ServerKey = None,
    client_key: ClientKey = None,
) -> None:
    """**Tell a person** that daemon, stream, electrode or journal is in trouble.

    A process of its own follows the daemon, best on another machine, for one that has lost its
    power tells nobody. Each `[[notify]]` of the config is a webhook or mail. A trouble is told
    once when it has lasted for `after_s`, and once more when it has been over for so long. What
    cannot be sent is tried again.

        hypnod notify --config hypnod.toml --test

        hypnod notify --config hypnod.toml

    The exit code is 13 where --test cannot send.
    """
    settings = load_config(config)
    if not settings.notify:
        raise ConfigError(f"{config}: expected [[notify]], whom to tell, found none")
    configure_log(settings.log)
    if test:
        _try_all(settings.notify)
        return
    keys = read_keys(server_key, client_key)
    endpoint = dial_config(settings.publish.bind)
    with stopping() as stop, ExitStack() as stack:
        ways = [
            (Watch(way.after_s), stack.enter_context(closing(Sender(way))))
            for way in settings.notify
        ]
        follower = stack.enter_context(
            Follower(
                endpoint,
                PREFIXES,
                catch_up=dial_config(settings.publish.catchup_bind),
                start=Start(first=-1),
                patience_s=_PATIENCE_S,
                keys=keys,
            )
        )
        board = Board(endpoint, _HOURS)
        while not stop:
            for received in follower.receive(_LOOK_S):
                board.take(received)
            now = time.monotonic()
            board.look(now, connected=follower.connected)
            found, lost = find(board), board.daemon.lost
            for watch, sender in ways:
                for notice in watch.look(found, lost, now):
                    sender.put(notice)


def _try_all(ways: Sequence[NotifyConfig]) -> None:
    """Send one notice each way, whatever becomes of the others.

    Raises:
        NotifyError: one of them failed.
    """
    failed = []
    for way in ways:
        try:
            way_of(way)(_TEST)
        except NotifyError as error:
            failed.append(str(error))
        else:
            typer.echo(f"sent to {_describe(way)}")
    if failed:
        raise NotifyError("; ".join(failed))


def _describe(way: NotifyConfig) -> str:
    return ", ".join(way.mail_to) or "the webhook"
