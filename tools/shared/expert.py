"""`--hypnogram-epoch`, `--codes`, …: how an expert's hypnograms are to be read."""

from collections.abc import Sequence
from typing import Annotated

import typer

from models.recordings.hypnograms.interpret import Legend

HypnogramEpochOption = Annotated[
    float | None,
    typer.Option(
        "--hypnogram-epoch",
        min=0.001,
        help="Length of the hypnogram's epochs, s, in files of one stage a line.",
    ),
]
CodesOption = Annotated[
    str | None,
    typer.Option(
        "--codes",
        help="What the hypnogram's numbers mean: accusleep, sdreamer, yasa, … (docs/hypnograms.md)"
        ", or 1=Wake,2=NREM,3=REM.",
        metavar="BOOK",
    ),
]
IgnoreOption = Annotated[
    list[str] | None,
    typer.Option(
        "--ignore",
        help="A label of the hypnogram that is no stage; as often as there are some.",
        metavar="LABEL",
    ),
]
SameStartOption = Annotated[
    bool,
    typer.Option(
        "--same-start",
        help="Hypnograms begin with their recordings, whatever their own start says.",
    ),
]


def read_legend(
    epoch_s: float | None, codes: str | None, ignore: Sequence[str] | None, same_start: bool
) -> Legend:
    """Return what these options say, in their order above."""
    return Legend(epoch_s=epoch_s, codes=codes, ignore=ignore or (), same_start=same_start)
