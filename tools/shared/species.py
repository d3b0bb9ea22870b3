"""`--bundle`, `--species`: which bundle, or whose shipped one."""

from pathlib import Path
from typing import Annotated, Literal

import typer

SpeciesOption = Annotated[
    Literal["mouse", "human"] | None,
    typer.Option(
        "--species",
        help="Whose shipped bundle; default: mouse. Of a bundle given: whose it has to be.",
    ),
]
BundleOption = Annotated[
    Path | None,
    typer.Option("--bundle", help="Folder of the model bundle; default: the shipped one."),
]
