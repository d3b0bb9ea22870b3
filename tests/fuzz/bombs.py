"""Small files that declare, or unpack to, far more than they hold."""

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import scipy.io
from scipy import sparse

from tests.fuzz import seeds

_MAT = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H2s", 0x100, b"IM")
_MATRIX, _COMPRESSED, _DOUBLE, _BYTE = 14, 15, 9, 2
_BLOCK = 1 << 20
_XDF_HEADER = (1, b'<?xml version="1.0"?><info><version>1.0</version></info>')
_TIME = b"\x08" + struct.pack("<d", 1.0)


def mat(packed_bytes: int, n: int, kind: int = _DOUBLE, flags: int = 6) -> bytes:
    """Return a .mat whose `eeg` declares n numbers in so many bytes, all zero and compressed."""
    head = _element(6, struct.pack("<II", flags, 0)) + _element(5, struct.pack("<ii", n, 1))
    head += _element(1, b"eeg") + struct.pack("<II", kind, packed_bytes)
    head = struct.pack("<II", _MATRIX, len(head) + packed_bytes) + head
    packed = _zeros_after(head, packed_bytes // _BLOCK)
    return _MAT + struct.pack("<II", _COMPRESSED, len(packed)) + packed


def _element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def _zeros_after(head: bytes, n_blocks: int) -> bytes:
    """Return `head` and blocks of zeros, compressed; each block is packed only once."""
    compressor = zlib.compressobj(9)
    start = compressor.compress(head) + compressor.flush(zlib.Z_FULL_FLUSH)
    block = compressor.compress(bytes(_BLOCK)) + compressor.flush(zlib.Z_FULL_FLUSH)
    end = compressor.flush()[:-4]
    total = zlib.adler32(head)
    low, high = total & 0xFFFF, total >> 16  # zeros leave the low sum as it is
    checksum = (high + n_blocks * _BLOCK * low) % 65521 << 16 | low
    return start + block * n_blocks + end + struct.pack(">I", checksum)


def xdf(n_channels: int, kind: str, n_samples: int, values: bytes) -> bytes:
    """Return an XDF whose one chunk of samples declares more than its values."""
    info = (
        f"<info><name>cage</name><type>EEG</type><channel_count>{n_channels}</channel_count>"
        f"<nominal_srate>100</nominal_srate><channel_format>{kind}</channel_format></info>"
    )
    samples = struct.pack("<IBQ", 1, 8, n_samples) + _TIME + values
    chunks = [_XDF_HEADER, (2, struct.pack("<I", 1) + info.encode()), (3, samples)]
    body = (b"\x04" + struct.pack("<IH", len(data) + 2, tag) + data for tag, data in chunks)
    return b"XDF:" + b"".join(body)


def edf(**fields: tuple[int, bytes]) -> bytes:
    """Return an EDF with bytes at some places of its header changed."""
    content = bytearray(seeds.edf()[0])
    for at, value in fields.values():
        content[at : at + len(value)] = value
    return bytes(content)


def _old_mat(**variables: object) -> bytes:
    file = io.BytesIO()
    night = {"eeg": np.zeros((3, 1)), "emg": np.zeros((3, 1)), "eeg_frequency": 10.0}
    scipy.io.savemat(file, night | variables, format="4")
    return file.getvalue()


def all_bombs() -> Iterator[tuple[str, bytes, str]]:
    """Give each file's name, its content, and words of the sentence that refuses it."""
    most = "expected at most .* bytes in 'eeg', as it is packed, found"
    yield "numbers.mat", mat(3 << 30, 3 << 27), most
    yield "bytes.mat", mat(1 << 29, 1 << 29, _BYTE), most
    yield "one.mat", mat(3 << 30, 1), most
    yield "complex.mat", mat(1 << 20, 1 << 17, flags=6 | 0x0800), "found no numbers"
    yield (
        "old.mat",
        b"".join((_old_mat()[:4], struct.pack("<i", 2**31 - 1), _old_mat()[8:])),
        ("expected a MATLAB file, found"),
    )
    yield "sparse.mat", _old_mat(eeg=sparse.coo_array(np.eye(1, 5))), "found a sparse matrix"
    over = "found 0 .*bytes of it, in 1 places, are damaged or cut off"
    yield "channels.xdf", xdf(10**9, "double64", 1, bytes(100)), over
    yield "samples.xdf", xdf(2, "float32", 10**12, bytes(8)), over
    yield "texts.xdf", xdf(1, "string", 10**10, b"\1\1a"), over
    yield "text-channels.xdf", xdf(10**10, "string", 1, b"\1\1a"), over
    yield "chunk.xdf", b"XDF:\x08" + struct.pack("<QH", 1 << 62, 1), "expected an XDF file"
    in_record = 256 + 2 * 216
    yield "records.edf", edf(n=(236, b"99999999")), "40 samples"
    yield "record.edf", edf(n=(in_record, b"99999999")), "expected data records, found none"
    whole = edf(n=(in_record, b"99999999"), records=(236, b"-1      "))
    yield "unfinished.edf", whole, "expected data records, found none"
    yield "signals.edf", edf(n=(252, b"9999")), "expected a header of 2560000 bytes"
    yield "rate.edf", edf(s=(244, b"1e-300  ")), "expected a sampling rate from"
