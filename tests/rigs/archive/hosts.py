"""Three hosts with addresses of their own, as network namespaces: one of them is cut off."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.rigs.archive.parts import Lab, SkippedError, dask, process

_BRIDGE = "hypnod-net"
_HOSTS = ("hypnod-a", "hypnod-b", "hypnod-c")
_PORT = 8786


def three_hosts(folder: Path) -> str:
    """Scheduler and run on one host, workers on the others, of which one vanishes on the way."""
    lab = Lab(folder, 24)
    with _network() as addresses, ExitStack() as stack:
        first, *others = _HOSTS
        at = f"tcp://{addresses[first]}:{_PORT}"
        stack.enter_context(process(*dask("scheduler", "--host", at), within=_inside(first)))
        for host in others:
            worker = dask("worker", at, "--nthreads", "1", "--host", addresses[host])
            stack.enter_context(process(*worker, within=_inside(host)))
        run = lab.start("--scheduler", at, within=_inside(first))
        lab.wait_for(8, run)
        _ip("-n", others[1], "link", "set", "eth0", "down")
        cut = len(lab.sidecars())
        lab.finish(run)
    lab.check_whole({})
    return f"one of two working hosts cut off after {cut} of {lab.n}: all done"


@contextmanager
def _network() -> Iterator[dict[str, str]]:
    """Give the address of each host; raise SkippedError without the right to make any."""
    addresses = {host: f"10.77.0.{k}" for k, host in enumerate(_HOSTS, start=1)}
    try:
        _ip("netns", "add", _BRIDGE)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SkippedError(
            f"expected the right to make network namespaces, found: {error}"
        ) from error
    try:
        _ip("-n", _BRIDGE, "link", "add", "br0", "type", "bridge")
        _ip("-n", _BRIDGE, "link", "set", "br0", "up")
        for host, address in addresses.items():
            _ip("netns", "add", host)
            _ip("-n", _BRIDGE, "link", "add", host, "type", "veth", "peer", "eth0", "netns", host)
            _ip("-n", _BRIDGE, "link", "set", host, "master", "br0", "up")
            _ip("-n", host, "address", "add", f"{address}/24", "dev", "eth0")
            _ip("-n", host, "link", "set", "eth0", "up")
            _ip("-n", host, "link", "set", "lo", "up")
        yield addresses
    finally:
        for name in (*_HOSTS, _BRIDGE):
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def _inside(host: str) -> list[str]:
    return ["ip", "netns", "exec", host]


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
