"""`python -m tests.rigs.explain`: whether the weight of decisions lies where it should.

Simulated subjects that no net was trained on are staged as by `hypnod score`. Of epochs whose stage
is true, N2 of people and REM of mice, it is measured where attention and support lie: on the pieces
of the epoch that hold a planted spindle against its other pieces; and, of a net of levels, on the
bands of spindles or theta against the other bands of the EEG.
"""

import argparse
import json
from itertools import count
from pathlib import Path

from rich.console import Console
from rich.table import Table

from engines.bundle import open_bundle
from tests.rigs.explain.weights import SOUGHT, Weighed, decided, summarise, weigh
from tools.explain.computing import open_net


def main() -> None:
    """Measure a bundle and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, help="default: the shipped one")
    parser.add_argument("--epochs", type=int, default=200, help="so many are weighed")
    parser.add_argument("--kind", choices=("live", "final"), default="final")
    parser.add_argument("--json", type=Path, help="write what was found")
    options = parser.parse_args()
    bundle = open_bundle(options.bundle)
    net = open_net(bundle)
    found: list[Weighed] = []
    console = Console(stderr=True)
    with console.status("simulating and staging"):
        for number in count():
            found += weigh(decided(bundle, number, options.kind), net, bundle)
            if len(found) >= options.epochs:
                break
    rows = summarise(found[: options.epochs], SOUGHT[bundle.spec.species])
    table = Table("what", "epochs", "subjects", "there", "elsewhere", "more there")
    for row in rows:
        table.add_row(
            *(row.what, str(row.epochs), str(row.subjects)),
            *(f"{row.there:.3f}", f"{row.elsewhere:.3f}"),
            f"{100 * row.more:.0f} % of epochs, {row.subjects_with_more} subjects",
        )
    title = f"{bundle.manifest.name} {bundle.hash[:12]}, {options.kind}, simulated subjects"
    Console(width=120).print(title, table)
    if options.json:
        options.json.write_text(json.dumps([row._asdict() for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
