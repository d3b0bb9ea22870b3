"""`--species`: whose shipped bundle."""

from typing import Annotated, Literal

import typer

SpeciesOption = Annotated[
    Literal["mouse", "human"] | None,
    typer.Option(
        "--species", help="Whose shipped bundle; default: mouse. With --bundle: whose it has to be."
    ),
]
