"""Fuzz one parser with coverage: `python -m tests.fuzz.atheris_target NAME [libFuzzer options]`.

Stops at the first exception, at 10 s for one input, and at 4 GB of address space.
"""

import resource
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["models", "daemon", "engines", "edfio", "pyxdf"]):
    from tests.fuzz.targets import TARGETS

_ADDRESS_SPACE = 4 * 2**30
_OPTIONS = ("-timeout=10", "-rss_limit_mb=2048", "-max_len=20000", "-print_final_stats=1")


def main() -> None:
    name, *options = sys.argv[1:]
    target = TARGETS[name]
    with tempfile.TemporaryDirectory(prefix=f"hypnod-corpus-{name}-") as corpus:
        for k, seed in enumerate(target.seeds()):
            (Path(corpus) / f"seed-{k}").write_bytes(seed)
        target.read(b"")  # starts what it needs before memory is limited
        resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
        atheris.Setup([sys.argv[0], corpus, *_OPTIONS, *options], target.read)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
