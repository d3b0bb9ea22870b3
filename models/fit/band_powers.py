"""Log band powers and log EMG of scored epochs, as sleep scoring programs measure them."""

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from models.simulator.bands import BANDS

_EMG_HIGHPASS_HZ = 10.0


def measure(data: NDArray[np.floating], sfreq: float, epoch_s: float = 4.0) -> NDArray[np.float64]:
    """Measure one subject's epochs.

    Args:
        data: (n_samples, 2) µV, EEG and EMG.
        sfreq: sampling rate, Hz; an epoch has a whole number of samples.
        epoch_s: length of an epoch, s.

    Returns:
        (n_epochs, 6) natural logs of the power in each band of `BANDS`, µV² (one Hann-windowed
        periodogram per epoch), and of the mean rectified EMG above 10 Hz, µV.
    """
    n = round(epoch_s * sfreq)
    n_epochs = len(data) // n
    epochs = data[: n * n_epochs, 0].reshape(n_epochs, n)
    freqs, density = signal.periodogram(epochs, sfreq, "hann")
    sums = [density[:, (freqs >= lo) & (freqs < hi)].sum(axis=1) for lo, hi in BANDS.values()]
    highpass = signal.butter(2, _EMG_HIGHPASS_HZ, "highpass", fs=sfreq, output="sos")
    rectified = np.abs(signal.sosfilt(highpass, data[: n * n_epochs, 1].astype(np.float64)))
    emg = rectified.reshape(n_epochs, n).mean(axis=1)
    return np.asarray(np.log(np.column_stack([*(s / epoch_s for s in sums), emg])))
