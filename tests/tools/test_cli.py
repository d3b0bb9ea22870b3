"""What every command has: help, a version, completion."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import hypnod
from tools.cli import _COMMANDS, app, main


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


@pytest.mark.parametrize("command", ["night", "score", "replay", "simulate", "init"])
def test_a_path_that_cannot_be_used_is_one_sentence(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = f"{'x' * 300}.edf"
    monkeypatch.setattr(sys, "argv", ["hypnod", command, path])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    expected = f"hypnod: {path}: expected a path that can be used, found: file name too long\n"
    assert capsys.readouterr().err == expected


def test_so_is_one_in_a_folder_that_is_locked(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0)
    powers = "-dac_override,-dac_read_search"  # root's, to look into it all the same
    within = ["setpriv", "--bounding-set", powers, "--inh-caps", powers] * (os.geteuid() == 0)
    if subprocess.run([*within, "true"], check=False).returncode:
        pytest.skip("needs the right to give up root's powers")
    done = subprocess.run(
        [*within, *hypnod.command("night", str(tmp_path / "locked" / "journal"))],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.endswith("expected a path that can be used, found: permission denied\n")
    assert len(done.stderr.splitlines()) == 1


def test_a_shell_completes_commands_and_options() -> None:
    def complete(words: str) -> list[str]:
        n = str(len(words.split(" ")) - 1)
        return ask(_HYPNOD_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=n).split()

    assert complete("hypnod wa") == ["watch"]
    assert {"--config", "--timeout"} <= {*complete("hypnod doctor --")}


def test_what_an_error_quotes_is_shown_as_it_is() -> None:
    done = subprocess.run(
        hypnod.command("score", "/no/[b]such:-1:/file.edf"),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"FORCE_COLOR": "1", "TERM": "xterm"},
    )
    assert "/no/[b]such:-1:/file.edf" in done.stderr
