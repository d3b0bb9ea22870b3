"""`--codes`, `--ignore`, `--same-start`: how an expert's hypnograms are to be read."""

from typing import Annotated

import typer

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
