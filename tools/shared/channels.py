"""Which channels of a recording were chosen, for people."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from models.recordings.channels import Chosen


def print_channels(console: Console, chosen: Chosen) -> None:
    """Print what was guessed: of animals a line each; of a person every channel, and why."""
    if not chosen.table:
        for line in chosen.guess:
            console.print(line, markup=False)
        return
    table = Table("channel", "read as", "why", title="chosen by the names of electrodes")
    for label, modality, why in chosen.table:
        table.add_row(*(Text(cell) for cell in (label, modality.upper() or "–", why)))
    console.print(table)
    for line in chosen.absent:
        console.print(line, markup=False)
