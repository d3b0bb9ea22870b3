import stat

import pytest
import zmq
import zmq.auth

from daemon.errors import KeyFileError
from daemon.sockets.keys import ClientKeys, read_folder, read_pair, read_public, write_pair


@pytest.fixture
def pair(tmp_path):
    return write_pair(tmp_path, "m-dash")


def test_written_keys_are_read_again_and_are_those_of_pyzmq(pair):
    public_path, secret_path = pair
    keys = read_pair(secret_path)
    assert read_public(public_path) == keys.public == zmq.curve_public(keys.secret)
    assert zmq.auth.load_certificate(secret_path) == (keys.public, keys.secret)


def test_keys_that_pyzmq_made_are_read(tmp_path):
    _, secret_path = zmq.auth.create_certificates(tmp_path, "theirs")
    (tmp_path / "theirs.key_secret").chmod(0o600)
    keys = read_pair(tmp_path / "theirs.key_secret")
    assert zmq.auth.load_certificate(secret_path) == (keys.public, keys.secret)


def test_the_secret_is_for_its_owner_alone_and_never_shown(pair):
    public_path, secret_path = pair
    assert stat.S_IMODE(secret_path.stat().st_mode) == 0o600
    keys = read_pair(secret_path)
    assert keys.secret.decode() not in f"{keys!r} {keys} {ClientKeys(keys.public, keys)!r}"
    assert keys.secret.decode() not in public_path.read_text("utf-8")


def test_keys_are_never_overwritten(pair, tmp_path):
    before = [path.read_bytes() for path in pair]
    with pytest.raises(KeyFileError, match=r"m-dash\.key: expected no such file yet"):
        write_pair(tmp_path, "m-dash")
    pair[0].unlink()
    with pytest.raises(KeyFileError, match=r"m-dash\.key_secret: expected no such file yet"):
        write_pair(tmp_path, "m-dash")
    assert pair[1].read_bytes() == before[1]
    assert not pair[0].exists()


def test_a_folder_that_is_none_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(KeyFileError, match=r"expected a folder to write to"):
        write_pair(tmp_path / "file", "a")
    with pytest.raises(KeyFileError, match=r"expected a folder of public keys"):
        read_folder(tmp_path / "file")


def test_a_folder_gives_names_and_leaves_other_files_alone(tmp_path):
    paths = [write_pair(tmp_path / "made", name)[0] for name in ("a", "b.c")]
    folder = tmp_path / "clients"
    folder.mkdir()
    for path in paths:
        path.rename(folder / path.name)
    (folder / "README").write_text("whose they are", "utf-8")
    assert sorted(read_folder(folder).values()) == ["a", "b.c"]
    assert set(read_folder(folder)) == {read_public(path) for path in folder.glob("*.key")}


@pytest.mark.parametrize("mode", [0o604, 0o620, 0o644, 0o666])
def test_a_secret_open_to_others_is_refused(pair, mode):
    pair[1].chmod(mode)
    with pytest.raises(KeyFileError, match=r"found it open to others; chmod 600 /"):
        read_pair(pair[1])


def test_a_secret_among_the_public_keys_is_refused_and_not_shown(pair, tmp_path):
    secret = read_pair(pair[1]).secret.decode()
    pair[1].rename(tmp_path / "m-dash.key")
    with pytest.raises(KeyFileError, match=r"expected a public key alone") as raised:
        read_folder(tmp_path)
    assert secret not in str(raised.value)


def test_a_public_key_is_no_pair(pair):
    with pytest.raises(KeyFileError, match=r"expected a secret key, found a public one alone"):
        read_pair(pair[0])


GOOD = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "expected a readable file of CURVE keys"),
        ("public-key", "expected a readable file of CURVE keys"),
        ("public-key = ", "expected keys of 40 digits"),
        ('public-key = "short"', "expected keys of 40 digits"),
        (f'public-key = "{GOOD[:-1]}é"', "expected keys of 40 digits"),
        (f'public-key = "{GOOD}"\nsecret-key = "x"', "expected keys of 40 digits"),
        (f'public-key = "{GOOD}"\nsecret-key = "{GOOD}"', "do not belong together"),
        (f'public-key = "{GOOD}"\nsecret-key = "{"#" * 40}"', "do not belong together"),
    ],
)
def test_a_broken_file_is_one_sentence(tmp_path, text, sentence):
    path = tmp_path / "broken.key_secret"
    path.write_text(text, "utf-8")
    path.chmod(0o600)
    with pytest.raises(KeyFileError) as raised:
        read_pair(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(KeyFileError, match=r"nobody\.key: expected a readable file"):
        read_public(tmp_path / "nobody.key")


def test_bytes_that_are_no_text_are_one_sentence(tmp_path):
    path = tmp_path / "noise.key"
    path.write_bytes(bytes(range(256)) * 64)
    with pytest.raises(KeyFileError):
        read_public(path)
