"""CURVE keys in files: a client's or the server's own pair, and the public keys of others.

The files are those of pyzmq's `zmq.auth` (and of czmq): `NAME.key` has a public key and may be seen
by everyone, `NAME.key_secret` has both keys and stays with its owner. https://rfc.zeromq.org/spec/26/
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import zmq
import zmq.auth
from zmq.utils import z85

from daemon.errors import KeyFileError

SERVER_NAME = "hypnod"
"""The server's keys are in hypnod.key and hypnod.key_secret."""
PUBLIC_SUFFIX, SECRET_SUFFIX = ".key", ".key_secret"

_N_DIGITS = 40  # of a key in Z85
# A credential of systemd is readable through an ACL, which stat shows as the group's right to read.
_TOO_OPEN = 0o027


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Somebody's own keys, in Z85; the secret one is never shown."""

    public: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """What a client needs to connect: the key of the server that it trusts, and its own pair."""

    server: bytes
    own: KeyPair

    @classmethod
    def read(cls, server_key: Path, client_key: Path) -> Self:
        """Read the server's public key and the client's own secret file.

        Raises:
            KeyFileError: one cannot be read, is no such key, or the secret one is open to others.
        """
        return cls(read_public(server_key), read_pair(client_key))

    def secure(self, socket: zmq.Socket[Any]) -> None:
        """Let a socket speak CURVE; to be called before it connects."""
        socket.curve_serverkey = self.server
        socket.curve_publickey, socket.curve_secretkey = self.own.public, self.own.secret


def read_public(path: Path) -> bytes:
    """Return the public key in a `.key` file, in Z85.

    Raises:
        KeyFileError: it cannot be read, has no valid key, or has a secret one, too.
    """
    public, secret = _load(path)
    if secret is not None:
        raise KeyFileError(
            f"{path}: expected a public key alone, found a secret one with it, which belongs to "
            "its owner alone; make new keys"
        )
    return public


def read_pair(path: Path) -> KeyPair:
    """Return the keys in a `.key_secret` file.

    Raises:
        KeyFileError: it cannot be read, has no valid pair of keys, or others may read it.
    """
    public, secret = _load(path)
    if secret is None:
        raise KeyFileError(f"{path}: expected a secret key, found a public one alone")
    if path.stat().st_mode & _TOO_OPEN:
        raise KeyFileError(
            f"{path}: expected a secret key for its owner alone, found it open to others; "
            f"chmod 600 {path}"
        )
    if _public_of(secret) != public:
        raise KeyFileError(
            f"{path}: expected a pair of keys, found two that do not belong together"
        )
    return KeyPair(public, secret)


def read_folder(folder: Path) -> dict[bytes, str]:
    """Return the name, which is that of the file, of each public key in a folder.

    Raises:
        KeyFileError: the folder cannot be read, or a `.key` file in it has no public key.
    """
    if not folder.is_dir():
        raise KeyFileError(f"{folder}: expected a folder of public keys, found none")
    return {read_public(path): path.stem for path in sorted(folder.glob(f"*{PUBLIC_SUFFIX}"))}


def write_pair(folder: Path, name: str) -> tuple[Path, Path]:
    """Make new keys; return their files, the public and the secret one.

    Raises:
        KeyFileError: one of the files exists already, or cannot be written.
    """
    public_path, secret_path = folder / f"{name}{PUBLIC_SUFFIX}", folder / f"{name}{SECRET_SUFFIX}"
    public, secret = (key.decode() for key in zmq.curve_keypair())
    text = f'metadata\n    name = {name}\ncurve\n    public-key = "{public}"\n'
    for path in (public_path, secret_path):
        if path.exists():
            raise KeyFileError(f"{path}: expected no such file yet, found one, which stays")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_new(public_path, text, 0o644)
        _write_new(secret_path, f'{text}    secret-key = "{secret}"\n', 0o600)
    except OSError as error:
        raise KeyFileError(f"{folder}: expected a folder to write to, found: {error}") from error
    return public_path, secret_path


def _load(path: Path) -> tuple[bytes, bytes | None]:
    try:
        public, secret = zmq.auth.load_certificate(path)
    except (OSError, ValueError, IndexError) as error:
        raise KeyFileError(f"{path}: expected a readable file of CURVE keys, found none") from error
    if not _is_key(public) or (secret is not None and not _is_key(secret)):
        raise KeyFileError(f"{path}: expected keys of {_N_DIGITS} digits in Z85, found others")
    return public, secret


def _is_key(key: bytes) -> bool:
    return len(key) == _N_DIGITS and set(key) <= set(z85.Z85CHARS)


def _public_of(secret: bytes) -> bytes | None:
    try:
        return zmq.curve_public(secret)
    except zmq.ZMQError:  # five digits that say more than four bytes can
        return None


def _write_new(path: Path, text: str, mode: int) -> None:
    """Write a file that is never open to more than `mode` says, not even for a moment."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
