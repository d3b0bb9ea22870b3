"""EDF files of kinds that edfio cannot write."""

import edfio

from models.simulator.mouse.simulate import SimulatedMice


def write_interrupted_edf(path, onsets, offset=0.0, kind=b"EDF+D", sfreq=100):
    """Write an EDF+D: at each of `onsets` 1 s of simulated EEG, µV; return its samples."""
    samples = SimulatedMice(seed=0, duration_s=len(onsets), sfreq=sfreq).record().data[:, 0]
    signal = edfio.EdfSignal(samples, sfreq, label="EEG", physical_dimension="uV")
    marks = [edfio.EdfAnnotation(onset + 0.25, None, f"mark {onset:g}") for onset in onsets]
    edfio.Edf([signal], annotations=[edfio.EdfAnnotation(0, None, "")]).write(path)
    n_text = 64
    header = bytearray(path.read_bytes()[: 256 * 3])
    header[192:197] = kind
    header[-64 - 8 : -64] = f"{n_text // 2:<8}".encode()
    body = b""
    for i, (onset, mark) in enumerate(zip(onsets, marks, strict=True)):
        text = f"+{onset + offset:.15g}\x14\x14\0+{mark.onset + offset:.15g}\x14{mark.text}\x14\0"
        record = signal.digital[i * sfreq : (i + 1) * sfreq].astype("<i2").tobytes()
        body += record + text.encode().ljust(n_text, b"\0")
    path.write_bytes(bytes(header) + body)
    return signal.data
