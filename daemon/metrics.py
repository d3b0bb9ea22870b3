"""What Prometheus scrapes, and the small HTTP listener that also answers health probes.

Names follow https://prometheus.io/docs/practices/naming/: base units, `_total` on counters,
`_timestamp_seconds` (of the wall clock) rather than ages.
"""

import json
import socket
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
    exposition,
)

from daemon.config import MetricsConfig
from daemon.errors import AddressError
from daemon.messages import StageMessage

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_POLL_S = 0.1  # a shutdown waits at most this long for the listener

Problems = Callable[[], dict[str, str]]
"""Asked by a probe, from another thread: what is wrong, by name; empty when all is well."""


class Metrics:
    """Every metric of the daemon, in a registry of its own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        r = self.registry
        self.info = Info("hypnod", "What is running.", registry=r)
        self.samples = Counter("hypnod_samples", "Samples received.", ["stream"], registry=r)
        self.dropped = Counter(
            "hypnod_dropped_samples",
            "Samples whose timestamps lay in the past.",
            ["stream"],
            registry=r,
        )
        self.epochs = Counter(
            "hypnod_epochs", "Live estimates.", ["stream", "subject", "stage"], registry=r
        )
        self.unusable = Counter(
            "hypnod_unusable_epochs",
            "Epochs of one modality that could not be used.",
            ["stream", "subject", "modality", "reason"],
            registry=r,
        )
        self.latency = Histogram(
            "hypnod_latency_seconds",
            "From the arrival of an epoch's last sample to the publishing of its live estimate.",
            ["stream"],
            buckets=_SECONDS,
            registry=r,
        )
        self.step = Histogram(
            "hypnod_step_seconds",
            "Time to stage the epochs that became ready together.",
            buckets=_SECONDS,
            registry=r,
        )
        self.state = Gauge(
            "hypnod_stream_state",
            "1 for the state a stream is in.",
            ["stream", "state"],
            registry=r,
        )
        self.last_sample = Gauge(
            "hypnod_last_sample_timestamp_seconds", "When it arrived.", ["stream"], registry=r
        )
        self.last_epoch = Gauge(
            "hypnod_last_epoch_timestamp_seconds", "When it was published.", ["stream"], registry=r
        )
        self.slots_filled = Gauge(
            "hypnod_slots_filled",
            "Epochs of the context window that hold a usable signal.",
            ["stream", "subject"],
            registry=r,
        )
        self.reconnects = Counter(
            "hypnod_reconnects", "Times a lost stream was found again.", ["stream"], registry=r
        )
        self.clock_offset = Gauge(
            "hypnod_clock_offset_seconds",
            "To add to the stream's clock for this machine's LSL clock.",
            ["stream"],
            registry=r,
        )
        self.sampling_rate = Gauge(
            "hypnod_sampling_rate_hertz",
            "As measured from the timestamps.",
            ["stream"],
            registry=r,
        )

    def show_state(self, stream: str, state: str, states: Iterable[str]) -> None:
        """Set the gauge of a stream's state to 1 and those of the other states to 0."""
        for each in states:
            self.state.labels(stream, each).set(each == state)

    def observe(self, message: StageMessage, wall: float) -> None:
        """Count a live estimate that was published at this wall time, s."""
        stream, subject = message.stream, message.subject
        self.epochs.labels(stream, subject, message.stage).inc()
        self.slots_filled.labels(stream, subject).set(message.slots_filled)
        self.last_epoch.labels(stream).set(wall)
        if message.latency_s is not None:
            self.latency.labels(stream).observe(message.latency_s)
        for modality, reason in message.validity.items():
            if reason != "ok":
                self.unusable.labels(stream, subject, modality, reason).inc()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing: a scrape every few seconds is no news."""


class MetricsServer:
    """Serves /metrics, /healthz and /readyz in a thread of its own.

    Args:
        config: where to listen.
        registry: what /metrics shows.
        unhealthy: what /healthz asks.
        unready: what /readyz asks.

    Raises:
        AddressError: the port is in use, or the address is none of this machine.
    """

    def __init__(
        self,
        config: MetricsConfig,
        registry: CollectorRegistry,
        unhealthy: Problems,
        unready: Problems,
    ) -> None:
        self._exposition = exposition.make_wsgi_app(registry)
        self._probes = {"/healthz": unhealthy, "/readyz": unready}
        server_class = _Server6 if ":" in config.host else _Server
        try:
            self._server = make_server(
                config.host, config.port, self._answer, server_class, _Handler
            )
        except OSError as error:
            raise AddressError(
                f"metrics: expected a free port of this machine, found "
                f"{config.host}:{config.port}: {error.strerror}"
            ) from error
        self.host = config.host
        """The address listened on."""
        self.port: int = self._server.server_port
        """The port listened on; of port 0, the one that was taken."""
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return self._exposition(environ, start)  # type: ignore[no-any-return]
        if path not in self._probes:
            found = {"found": path, "expected": ["/metrics", *self._probes]}
            return _answer_json(start, HTTPStatus.NOT_FOUND, found)
        problems = self._probes[path]()
        if problems:
            bad = {"ok": False, "problems": problems}
            return _answer_json(start, HTTPStatus.SERVICE_UNAVAILABLE, bad)
        return _answer_json(start, HTTPStatus.OK, {"ok": True})


def _answer_json(start: StartResponse, status: HTTPStatus, content: object) -> list[bytes]:
    start(f"{status.value} {status.phrase}", [("Content-Type", "application/json")])
    return [json.dumps(content, ensure_ascii=False).encode()]
