"""What every command has: help, a version, completion."""

import os
import subprocess

import pytest
from typer.testing import CliRunner

import hypnod
from tools.cli import _COMMANDS, app


def ask(*arguments: str, **environ: str) -> str:
    done = subprocess.run(
        hypnod.command(*arguments),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=os.environ | environ,
    )
    return done.stdout


def test_it_says_its_version() -> None:
    assert ask("--version").startswith("hypnod 0.")


@pytest.mark.parametrize("command", ["", *_COMMANDS])
def test_help_is_short_or_long(command: str) -> None:
    short, long = (CliRunner().invoke(app, [*command.split(), f]) for f in ("-h", "--help"))
    assert short.exit_code == 0
    assert f"Usage: hypnod {command}".strip() in short.output
    assert short.output == long.output


def test_a_shell_completes_commands_and_options() -> None:
    def complete(words: str) -> list[str]:
        n = str(len(words.split(" ")) - 1)
        return ask(_HYPNOD_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=n).split()

    assert complete("hypnod wa") == ["watch"]
    assert {"--config", "--timeout"} <= {*complete("hypnod doctor --")}
