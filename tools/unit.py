"""`--unit`: what the values of a recording are in, of all channels or of each modality."""

from typing import Annotated, get_args

import typer

from models.errors import ConfigError
from models.signal.montage import Unit, Units

UnitOption = Annotated[
    str | None,
    typer.Option(
        "--unit",
        help="V, mV, µV or nV of all channels, or of some, as in EMG=mV or EEG=µV,EMG=mV; "
        "default: what the file, or the config, says.",
        metavar="UNIT",
    ),
]


def read_unit(option: str | None) -> Units | None:
    """Return the unit that `--unit` names, or those of modalities.

    Raises:
        ConfigError: one is none.
    """
    if option is None or option in get_args(Unit):
        return option  # type: ignore[return-value]
    pairs = (part.partition("=") for part in option.split(","))
    found = {modality.strip().lower(): unit.strip() for modality, _, unit in pairs}
    if "" in found or not {*found.values()} <= {*get_args(Unit)}:
        raise ConfigError(
            "--unit: expected V, mV, µV or nV of all channels, or of some, as in EMG=mV or "
            f"EEG=µV,EMG=mV, found {option!r}"
        )
    return found  # type: ignore[return-value]
