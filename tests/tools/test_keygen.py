import json
import os
import stat

import pytest
from typer.testing import CliRunner

from daemon.errors import KeyFileError
from daemon.sockets.keys import ClientKeys
from tools.cli import app

# A file is made for its owner alone, whatever the umask would allow.
WIDE_UMASK = 0o000


@pytest.fixture
def keygen(tmp_path):
    def keygen(*arguments):
        return CliRunner().invoke(app, ["keygen", str(tmp_path / "keys"), *arguments])

    return keygen


def test_it_makes_keys_for_the_server_and_its_clients(keygen, tmp_path):
    before = os.umask(WIDE_UMASK)
    try:
        made = [json.loads(keygen(*of, "--json").stdout) for of in (["--server"], ["--client=d"])]
    finally:
        os.umask(before)
    keys = tmp_path / "keys"
    assert [m["name"] for m in made] == ["hypnod", "d"]
    assert made[1]["public"] == str(keys / "d.key")
    assert made[1]["secret"] == str(keys / "d.key_secret")
    ClientKeys.read(keys / "hypnod.key", keys / "d.key_secret")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in keys.iterdir()}
    assert modes["hypnod.key_secret"] == modes["d.key_secret"] == 0o600
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700


def test_it_says_what_to_put_where_and_no_secret(keygen, tmp_path):
    for of, words in (("--server", "secret_key ="), ("--client=d", "[security] clients")):
        said = keygen(of).output
        assert words in said
        for path in (tmp_path / "keys").glob("*.key_secret"):
            assert path.read_text("utf-8").split('"')[-2] not in said


def test_it_overwrites_nothing(keygen, tmp_path):
    keygen("--server")
    before = (tmp_path / "keys" / "hypnod.key_secret").read_bytes()
    again = keygen("--server")
    assert isinstance(again.exception, KeyFileError)
    assert again.exception.exit_code == 3
    assert (tmp_path / "keys" / "hypnod.key_secret").read_bytes() == before


@pytest.mark.parametrize(
    "arguments",
    [[], ["--server", "--client=d"], ["--client=../d"], ["--client="], ["--client=a b"]],
)
def test_wrong_usage_is_told(keygen, tmp_path, arguments):
    assert keygen(*arguments).exit_code == 2
    assert not (tmp_path / "keys").exists()
