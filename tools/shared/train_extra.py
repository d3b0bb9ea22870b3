"""What needs the extra `train` says so where it is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager

from models.errors import WeightsError


@contextmanager
def train_extra() -> Iterator[None]:
    """Raise WeightsError, with what to install, where torch or another of its packages is missing.

    What is imported within is not imported at the top: torch takes seconds to load, and where
    hypnod only stages there is none.
    """
    try:
        yield
    except ImportError as error:
        raise WeightsError(
            f"expected pip install '.[train]' to have been run in hypnod's checkout, found: {error}"
        ) from error
