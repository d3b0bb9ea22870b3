"""`--match KEY=VALUE`: which stream of an XDF file, as in a config."""

from collections.abc import Sequence
from typing import Annotated

import typer

from models.errors import ConfigError
from models.recordings.xdf.reader import PROPERTIES, STREAM_ID

MatchOption = Annotated[
    list[str] | None,
    typer.Option(
        "--match",
        help="Which of several streams, as in a config: name=rack, type, source_id, hostname; "
        "of an XDF file also its stream_id.",
        metavar="KEY=VALUE",
    ),
]


def read_match(options: Sequence[str] | None) -> dict[str, str]:
    """Return the properties that `--match KEY=VALUE` names.

    Raises:
        ConfigError: one is no property of a stream.
    """
    found = dict(option.partition("=")[::2] for option in options or ())
    unknown = [
        key for key, value in found.items() if key not in (*PROPERTIES, STREAM_ID) or not value
    ]
    if unknown:
        raise ConfigError(
            f"--match: expected {', '.join(PROPERTIES)} with a value, as in name=rack, found "
            f"{', '.join(options or ())}"
        )
    return found
