"""`python -m daemon --config F`: the service alone, as systemd starts it."""

import argparse
import sys
from pathlib import Path

from daemon.service import run_service
from models.errors import HypnodError


def main() -> int:
    """Run the service; an expected error is one sentence and its own exit code."""
    parser = argparse.ArgumentParser(prog="python -m daemon", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="the TOML config file")
    try:
        run_service(parser.parse_args().config)
    except HypnodError as error:
        sys.stderr.write(f"hypnod: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
