"""What can go wrong, with the exit code each error gives the process.

    HypnodError                     1
    ├── RecordingError              6   a recording or a hypnogram cannot be used
    ├── SpecError                   4   a model's description contradicts itself
    ├── WeightsError                4   a model's weights are missing or do not fit it
    ├── engines.errors.EngineError  4
    │   └── BundleError             4
    └── daemon.errors.…             (drawn there)

Every message is one sentence that says what was expected and what was found.
"""


class HypnodError(Exception):
    """An error whose message a user can act on; `exit_code` is the process's."""

    exit_code = 1


class RecordingError(HypnodError):
    """A recording or a hypnogram is missing, broken or does not fit."""

    exit_code = 6


class SpecError(HypnodError):
    """A model specification contradicts itself."""

    exit_code = 4


class WeightsError(HypnodError):
    """A model's weights cannot be read or are not those of its specification."""

    exit_code = 4
