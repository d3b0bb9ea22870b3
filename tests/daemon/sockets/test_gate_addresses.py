"""Where the gate binds, and what it needs to begin."""

from contextlib import ExitStack

import pytest
import structlog

from daemon.config import PublishConfig, SecurityConfig
from daemon.errors import AddressError, KeyFileError
from daemon.sockets.gate import Gate
from daemon.sockets.publisher import Publisher
from models.errors import ConfigError
from tests.support.site import TIMEOUT_S, Site, heartbeat
from tools.client.subscriber import Subscriber


@pytest.fixture
def site(tmp_path):
    with ExitStack() as stack:
        yield Site(tmp_path, stack)


@pytest.mark.parametrize(
    "endpoint",
    ["tcp://*:*", "tcp://0.0.0.0:*", "tcp://eth0:*", "tcp://[::]:*", "tcp://192.168.1.20:*"],
)
def test_without_keys_other_machines_are_kept_out(endpoint):
    with pytest.raises(ConfigError, match=r"^publish\.bind: without keys expected .* found tcp:"):
        Publisher(PublishConfig(bind=endpoint))


@pytest.mark.parametrize("endpoint", ["udp://127.0.0.1:5570", "inproc://x", "nowhere", ""])
def test_other_transports_are_refused(endpoint):
    with pytest.raises(ConfigError, match=r"^publish\.bind: expected tcp://address:port or ipc:"):
        Publisher(PublishConfig(bind=endpoint))


@pytest.mark.parametrize("port", ["65536", "70000", "4294972866", "-1", "", "http", "5570x"])
def test_a_port_that_there_is_not_is_refused(port):
    """libzmq takes the number modulo 65536."""
    with pytest.raises(ConfigError, match=r"^publish\.bind: expected a port from 0 to 65535"):
        Publisher(PublishConfig(bind=f"tcp://127.0.0.1:{port}"))


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:*", "tcp://127.1.2.3:*", "tcp://lo:*"])
def test_without_keys_this_machine_may_listen(endpoint):
    with Publisher(PublishConfig(bind=endpoint)) as publisher:
        assert publisher.endpoint.startswith("tcp://127.")


def test_a_file_is_of_this_machine(tmp_path):
    with Publisher(PublishConfig(bind=f"ipc://{tmp_path}/stages")) as publisher:
        publisher.publish(heartbeat(0))
        with Subscriber(publisher.endpoint) as subscriber:
            publisher.serve(TIMEOUT_S)
            assert [r.message.seq for r in subscriber.receive(TIMEOUT_S)] == [0]


def test_forced_open_it_listens_to_everyone_and_says_so():
    everywhere = PublishConfig(bind="tcp://*:*")
    with structlog.testing.capture_logs() as logs, Gate(SecurityConfig(open_to_network=True)) as g:
        Publisher(everywhere, g).close()
    assert [entry["event"] for entry in logs] == ["open to the network"]


def test_with_keys_it_listens_to_other_machines(site):
    with Publisher(PublishConfig(bind="tcp://*:*"), site.gate) as publisher:
        assert publisher.endpoint.startswith("tcp://0.0.0.0:")


def test_a_port_in_use_is_named_by_its_key(site):
    with pytest.raises(AddressError, match=r"^publish\.bind: .* free address, found .* in use"):
        Publisher(PublishConfig(bind=site.publisher.endpoint), site.gate)


def test_keys_without_clients_are_a_mistake(site):
    with pytest.raises(ConfigError, match=r"^security\.clients: expected the folder"):
        Gate(SecurityConfig(secret_key=str(site.secret)))


def test_clients_without_the_servers_key_are_a_mistake(site, monkeypatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    config = SecurityConfig(clients=str(site.clients))
    with pytest.raises(ConfigError, match=r"^security\.secret_key: expected the file"):
        Gate(config)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(site.clients))
    with pytest.raises(KeyFileError, match=r"clients/hypnod\.key_secret: expected a readable"):
        Gate(config)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(site.keys))
    Gate(config).close()


def test_an_empty_folder_lets_nobody_in_and_says_so(site):
    (site.clients / "good.key").unlink()
    with structlog.testing.capture_logs() as logs:
        Gate(site.config).close()
    assert logs[0]["event"] == "nobody may connect"


def test_without_keys_there_is_nothing_to_reload():
    with structlog.testing.capture_logs() as logs, Gate(SecurityConfig()) as gate:
        gate.reload()
    assert [entry["event"] for entry in logs] == ["nothing to reload"]
