"""`--unit`: what the values of a recording are in, of all channels or of each modality."""

from typing import Annotated

import msgspec
import typer

from models.errors import ConfigError
from models.signal.montage import Units

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
    if option is None:
        return None
    asked: str | dict[str, str] = option
    once = True
    if "=" in option:
        pairs = [part.partition("=") for part in option.split(",")]
        asked = {modality.strip().lower(): unit.strip() for modality, _, unit in pairs}
        once = len(asked) == len(pairs) and "" not in asked
    try:
        units: Units | None = msgspec.convert(asked, Units)
    except msgspec.ValidationError:
        units = None
    if units is None or not once:
        raise ConfigError(
            "--unit: expected V, mV, µV or nV of all channels, or of some, each once, as in EMG=mV "
            f"or EEG=µV,EMG=mV, found {option!r}"
        )
    return units
