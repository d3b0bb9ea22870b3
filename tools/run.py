"""`hypnod run`: the daemon in the foreground."""

from pathlib import Path
from typing import Annotated

import typer

from daemon.service import run_service

Config = Annotated[
    Path,
    typer.Option(
        "--config", "-c", help="The TOML config file; systemd/hypnod.toml shows every key."
    ),
]


def run(config: Config) -> None:
    """Stage live LSL streams until told to stop.

    The smallest config is one stream and its subjects:

        [[streams]]
        name = "cage"
        match = { type = "EEG" }
        subjects = [{ name = "m01", channels = { eeg = "EEG1", emg = "EMG1" } }]

    Then `hypnod run --config hypnod.toml` waits for the one LSL stream of type EEG, stages m01
    as each epoch completes, and publishes the stages

    - with ZeroMQ, on tcp://127.0.0.1:5570 (see docs/messages.md; `hypnod watch` shows them),
    - as the LSL streams hypnod.cage (words) and hypnod.cage.prob (numbers), e.g. for LabRecorder,
    - to Prometheus, on http://127.0.0.1:9570/metrics, with /healthz and /readyz beside it.

    A stream that is not there yet is waited for, one that goes away is picked up again when it
    returns. A stream that is not as configured fails, with the reason in the log; when all have
    failed, the daemon ends.

    Ctrl-C or SIGTERM stops in order: the last estimates are published. A second Ctrl-C stops
    at once.

    Exit codes: 0 stopped in order, 3 config or keys, 4 model or engine, 5 every stream failed,
    7 a port is in use, 8 the journal is in use or of another format, 130 stopped at once.
    """
    run_service(config)
