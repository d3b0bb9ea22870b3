"""What can go wrong, with the exit code each error gives the process.

    HypnodError                     1
    ├── ConfigError                 3   the config, an option, or a value in them
    ├── StreamError                 5   a stream that is missing, ambiguous or not as configured
    │   └── UnitError               5   its amplitudes contradict the declared unit
    ├── RecordingError              6   a recording or a hypnogram cannot be used
    │   ├── LearntError             9   a bundle is to be tested on what it learnt from
    │   └── SpeciesError            10  it is not of the species that the bundle stages
    ├── SpecError                   4   a model's description contradicts itself
    ├── WeightsError                4   a model's weights are missing or do not fit it
    ├── engines.errors.EngineError  4
    │   └── BundleError             4
    ├── daemon.errors.…             (drawn there)
    └── tools.….errors.…            each command's own

Every message is one sentence that says what was expected and what was found.
"""


class HypnodError(Exception):
    """An error whose message a user can act on; `exit_code` is the process's."""

    exit_code = 1


class ConfigError(HypnodError):
    """The config file, or one value in it, cannot be used."""

    exit_code = 3


class StreamError(HypnodError):
    """A stream, live or recorded, is missing, ambiguous, or not what the config says."""

    exit_code = 5


class UnitError(StreamError):
    """A stream's amplitudes contradict its declared unit."""


class RecordingError(HypnodError):
    """A recording or a hypnogram is missing, broken or does not fit."""

    exit_code = 6


class LearntError(RecordingError):
    """A bundle is to be tested on recordings that it learnt from."""

    exit_code = 9


class SpeciesError(RecordingError):
    """A recording contradicts the species that a bundle stages."""

    exit_code = 10


class SpecError(HypnodError):
    """A model specification contradicts itself."""

    exit_code = 4


class WeightsError(HypnodError):
    """A model's weights cannot be read or are not those of its specification."""

    exit_code = 4
