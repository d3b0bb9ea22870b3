"""The `hypnod` command: one subcommand a module, imported when it is asked for."""

import errno
import importlib
import sys
from importlib import metadata
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from models.errors import HypnodError

_COMMANDS = {
    "adapt": "tools.adapt.command:adapt",
    "archive": "tools.archive.command:archive",
    "arm": "tools.arm:arm",
    "bench": "tools.bench.command:bench",
    "bridge": "tools.bridge.command:bridge",
    "compile": "tools.compile:compile_plan",
    "demo": "tools.demo.command:demo",
    "disarm": "tools.arm:disarm",
    "doctor": "tools.doctor:doctor",
    "evaluate": "tools.evaluate.command:evaluate",
    "explain": "tools.explain.command:explain",
    "import": "tools.import_checkpoint:import_checkpoint",
    "init": "tools.init.command:init",
    "keygen": "tools.keygen:keygen",
    "night": "tools.night.command:night",
    "notify": "tools.notify.command:notify",
    "pulse": "tools.pulse.command:pulse",
    "rehearse": "tools.rehearse.command:rehearse",
    "replay": "tools.replay.command:replay",
    "run": "tools.run:run",
    "score": "tools.score.command:score",
    "simulate": "tools.simulate:simulate",
    "train": "tools.train.command:train",
    "watch": "tools.watch:watch",
    "web": "tools.web.command:web",
}
_UNUSABLE = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP)
"""What a path that a person gave may be; pathlib raises it wherever it looks."""
_HELP = {"help_option_names": ["-h", "--help"]}


class _Commands(TyperGroup):
    """Imports a command with what it needs, not the others: the daemon starts sooner."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        for name in [cmd_name] if cmd_name in _COMMANDS else _COMMANDS:  # all, for "Did you mean"
            if name not in self.commands:
                self.add_command(_load(name))
        return super().get_command(ctx, cmd_name)


def _load(name: str) -> Any:
    module, _, function = _COMMANDS[name].partition(":")
    found = getattr(importlib.import_module(module), function)
    if isinstance(found, typer.Typer):  # a group of commands
        return typer.main.get_command(found)
    one = typer.Typer(
        rich_markup_mode="markdown", pretty_exceptions_enable=False, add_completion=False
    )
    one.command(name, context_settings=_HELP)(found)
    return typer.main.get_command(one)


app = typer.Typer(
    name="hypnod",
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings=_HELP,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hypnod {metadata.version('hypnod')}")
        raise typer.Exit


@app.callback()
def _hypnod(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show it and exit."),
    ] = False,
) -> None:
    """Sleep staging of live LSL streams: streams in, stages out."""


def main() -> None:
    """Run the command line; an expected error is one sentence and its own exit code."""
    try:
        app(prog_name="hypnod")
    except HypnodError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        if error.errno not in _UNUSABLE or error.filename is None:
            raise
        found = (error.strerror or "").lower()
        _fail(f"{error.filename}: expected a path that can be used, found: {found}", 2)


def _fail(sentence: str, exit_code: int) -> NoReturn:
    Console(stderr=True, soft_wrap=True, highlight=False, emoji=False).print(
        f"[bold red]hypnod:[/] {escape(sentence)}", markup=True
    )
    sys.exit(exit_code)
