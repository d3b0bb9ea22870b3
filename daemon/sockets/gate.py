"""The gate: which addresses the daemon's ZeroMQ sockets bind, and who may connect to them.

Without keys every socket stays on this machine. With keys every socket speaks CURVE, and each new
connection is asked for its key (ZAP, https://rfc.zeromq.org/spec/27/), by who calls `serve`.
"""

import errno
import os
import re
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Self

import structlog
import zmq
from zmq.utils import z85
from zmq.utils.monitor import parse_monitor_message

from daemon.config import SecurityConfig
from daemon.errors import AddressError, KeyFileError
from daemon.sockets.keys import SECRET_SUFFIX, SERVER_NAME, KeyPair, read_folder, read_pair
from models.errors import ConfigError

log = structlog.get_logger()

LONGEST_REQUEST = 65536
"""A client that sends more than this in one frame is cut off, bytes."""
HANDSHAKE_MS = 5000
"""Who has not shown a key by then is cut off."""

GONE_S = 120
"""A client that takes nothing, or whose computer answers nothing, is cut off after this time, s:
messages are kept for every connection that is left open."""

_MAX_PORT = 65535
_UNREAD_BYTES = 8192  # that wait in a connection, also of a client that is cut off
_AT_ONCE = 64  # connections decided in one call: a crowd at the gate must not hold up staging
_MAX_TOLD = 1000  # refusals told apart in the log
_ZAP_ENDPOINT, _ZAP_VERSION, _ZAP_DOMAIN = "inproc://zeromq.zap.01", b"1.0", b"hypnod"
_FAILURES = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)
REASONS = {
    "unknown_key": "its key is not among the allowed ones",
    "wrong_server_key": "it takes this server for one with another key",
    "no_handshake": "it spoke no CURVE, or hung up before it had shown a key",
}
"""Why a connection was refused."""


class Gate:
    """Binds server sockets, secures them, and decides who may connect.

    All server sockets come from `context` and are bound by `bind`; `close` closes what is left.

    Args:
        config: whose keys are allowed, and which one is the server's own.
        refused: told the reason, one of `REASONS`, of every connection that is refused.

    Raises:
        ConfigError: the config contradicts itself, or (KeyFileError) a key cannot be used.
    """

    def __init__(
        self, config: SecurityConfig, refused: Callable[[str], object] = lambda _: None
    ) -> None:
        self._config, self.refused = config, refused
        self._own = _own_keys(config)
        self._clients: dict[bytes, str] = {}
        self._told: set[str] = set()
        self._monitors: list[zmq.Socket[bytes]] = []
        if self._own is not None:
            self._read_clients()
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        """Where server sockets come from."""
        self._zap = self.context.socket(zmq.REP)
        self._zap.bind(_ZAP_ENDPOINT)  # before any secured socket, which else would ask nobody

    def bind(self, socket: zmq.Socket[bytes], endpoint: str, key: str) -> str:
        """Secure a server socket and bind it; return where, the port in place of a wildcard.

        Args:
            socket: of `context`.
            endpoint: `tcp://` or `ipc://`.
            key: the config key that the endpoint comes from, for errors.

        Raises:
            ConfigError: without keys, the endpoint is open to other machines.
            AddressError: it is in use, or is none of this machine.
        """
        check_endpoint(self._config, endpoint, key)
        if _is_open(self._config, endpoint):
            log.warning("open to the network", address=endpoint, key=key)
        socket.setsockopt(zmq.MAXMSGSIZE, LONGEST_REQUEST)
        socket.setsockopt(zmq.RCVBUF, _UNREAD_BYTES)
        socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        socket.setsockopt(zmq.TCP_MAXRT, 1000 * GONE_S)
        socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
        socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, GONE_S // 2)
        socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, GONE_S // 4)
        if self._own is not None:
            self._secure(socket, self._own)
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            raise AddressError(_explain(key, endpoint, error)) from error
        return socket.get_string(zmq.LAST_ENDPOINT)

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """For who waits until `serve` has something to do."""
        return [self._zap, *self._monitors]

    def serve(self) -> None:
        """Decide on the connections that wait, some of them at a time; never blocks."""
        for _ in range(_AT_ONCE):
            if not self._zap.poll(0):
                break
            self._zap.send_multipart(self._decide(self._zap.recv_multipart()))
        for monitor in self._monitors:
            for _ in range(_AT_ONCE):
                if not monitor.poll(0):
                    break
                event = parse_monitor_message(monitor.recv_multipart())
                self._count(_reason(event["event"], event["value"]))

    def reload(self) -> None:
        """Read the allowed keys again; who is connected stays, whatever became of its key.

        A client that was refused for its key has given up: libzmq makes it connect anew.

        Where they cannot be read the former ones stay allowed.
        """
        if self._own is None:
            log.info("nothing to reload", reason="security.clients is not set")
            return
        try:
            self._read_clients()
        except KeyFileError as error:
            log.error("keys not reloaded", reason=str(error), still_allowed=self._names())
            return
        self._told.clear()
        log.info("keys reloaded", allowed=self._names())

    def close(self) -> None:
        """Wait for what the sockets still have to send, each at most its linger."""
        for socket in (self._zap, *self._monitors):
            socket.close(linger=0)
        self.context.destroy()

    def _secure(self, socket: zmq.Socket[bytes], own: KeyPair) -> None:
        socket.curve_server = True
        socket.curve_secretkey = own.secret
        socket.zap_domain = _ZAP_DOMAIN
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # nobody to ask means nobody comes in
        where = f"inproc://refused-{len(self._monitors)}"
        socket.monitor(where, _FAILURES)
        monitor = self.context.socket(zmq.PAIR)
        # Without a limit, since libzmq's I/O thread would wait here where it is reached.
        monitor.setsockopt(zmq.RCVHWM, 0)
        monitor.connect(where)
        self._monitors.append(monitor)

    def _read_clients(self) -> None:
        self._clients = read_folder(Path(self._config.clients))
        if not self._clients:
            log.warning("nobody may connect", reason=f"no key in {self._config.clients}")

    def _names(self) -> list[str]:
        return sorted(self._clients.values())

    def _decide(self, request: list[bytes]) -> list[bytes]:
        """Answer a ZAP request; the User-Id of a client's messages is its name."""
        _, number, _, address, _, _, key = request
        public = z85.encode(key)
        name = self._clients.get(public)
        if name is not None:
            return [_ZAP_VERSION, number, b"200", b"OK", name.encode(), b""]
        self._tell(f"unknown key {public.decode()} from {address.decode()}")
        return [_ZAP_VERSION, number, b"400", b"unknown key", b"", b""]

    def _count(self, reason: str) -> None:
        self.refused(reason)
        if reason != "unknown_key":  # of which one was told when it was asked for
            self._tell(REASONS[reason])

    def _tell(self, why: str) -> None:
        """Log a refusal, once: many clients try again, ten times a second."""
        if why not in self._told and len(self._told) < _MAX_TOLD:
            self._told.add(why)
            log.warning("refused a client", reason=why)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def is_loopback(host: str) -> bool:
    """Say whether an address, or the name of an interface, is of this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host in ("lo", "localhost")


def _is_port(text: str) -> bool:
    return text == "*" or bool(re.fullmatch(r"[0-9]{1,5}", text) and int(text) <= _MAX_PORT)


def check_endpoint(config: SecurityConfig, endpoint: str, key: str) -> None:
    """Raise ConfigError unless an endpoint can be bound and may be, under these rules.

    Args:
        config: whether there are keys, and whether everyone may listen.
        endpoint: `tcp://` or `ipc://`.
        key: the config key that it comes from, for errors.
    """
    transport, _, address = endpoint.partition("://")
    if transport not in ("tcp", "ipc"):
        raise ConfigError(f"{key}: expected tcp://address:port or ipc://path, found {endpoint}")
    if transport == "tcp" and not _is_port(address.rpartition(":")[2]):
        raise ConfigError(f"{key}: expected a port from 0 to {_MAX_PORT}, or *, found {endpoint}")
    if _is_open(config, endpoint) and not config.open_to_network:
        raise ConfigError(
            f"{key}: without keys expected an address of this machine alone such as "
            f"tcp://127.0.0.1:5570, found {endpoint}; set security.clients, or "
            "security.open_to_network = true to let everyone listen"
        )


def _is_open(config: SecurityConfig, endpoint: str) -> bool:
    """Whether other machines reach it, and need no key."""
    transport, _, address = endpoint.partition("://")
    host = address.rpartition(":")[0].strip("[]")
    return transport == "tcp" and not config.clients and not is_loopback(host)


def _own_keys(config: SecurityConfig) -> KeyPair | None:
    """Return the server's keys, or None where the config wants no CURVE."""
    if config.clients:
        return read_pair(_secret_path(config))
    if config.secret_key:
        raise ConfigError(
            "security.clients: expected the folder of the allowed clients' keys beside "
            "security.secret_key, found none"
        )
    return None


def _secret_path(config: SecurityConfig) -> Path:
    if config.secret_key:
        return Path(config.secret_key)
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder is None:
        raise ConfigError(
            "security.secret_key: expected the file of the server's secret key beside "
            "security.clients, found none, and no credentials of systemd"
        )
    return Path(folder) / f"{SERVER_NAME}{SECRET_SUFFIX}"


def _reason(event: int, value: int) -> str:
    if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        return "unknown_key"
    wrong = event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    if wrong and value == zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC:
        return "wrong_server_key"
    return "no_handshake"


def _explain(key: str, endpoint: str, error: zmq.ZMQError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{key}: expected a free address, found {endpoint} already in use"
    return f"{key}: expected an endpoint of this machine, found {endpoint}: {error.strerror}"
