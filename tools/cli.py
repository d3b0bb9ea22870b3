"""The `hypnod` command: one subcommand a module."""

import sys

import typer
from rich.console import Console
from rich.markup import escape

from models.errors import HypnodError
from tools.bench.command import bench
from tools.compile import compile_plan
from tools.demo.command import demo
from tools.doctor import doctor
from tools.evaluate.command import evaluate
from tools.import_checkpoint import import_checkpoint
from tools.keygen import keygen
from tools.night.command import night
from tools.replay.command import replay
from tools.run import run
from tools.score.command import score
from tools.simulate import simulate
from tools.train.command import train
from tools.watch import watch

app = typer.Typer(
    name="hypnod",
    help="Sleep staging of live LSL streams: streams in, stages out.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(bench)
app.command("compile")(compile_plan)
app.command()(demo)
app.command()(doctor)
app.command()(evaluate)
app.command("import")(import_checkpoint)
app.command()(keygen)
app.command()(night)
app.command()(replay)
app.command()(run)
app.command()(score)
app.command()(simulate)
app.command()(train)
app.command()(watch)


def main() -> None:
    """Run the command line; an expected error is one sentence and its own exit code."""
    try:
        app()
    except HypnodError as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(
            f"[bold red]hypnod:[/] {escape(str(error))}", markup=True
        )
        sys.exit(error.exit_code)
