"""Messages as the journal keeps them: their JSON, deflated with a text that most of it repeats.

One alone is too short to be compressed: most of it are the names of fields, which the text has.
Whoever changes the text changes the format of the journal (`daemon.journal.file.FORMAT`).
"""

import zlib

MOST_BYTES = 1 << 24
"""No message is longer, unpacked."""

_TRIGGER = (
    b'"action":"refused","action":"sham","action":"on","action":"off","reason":"","ttl_s":2.0,'
    b'"ttl_s":0.0,"pulse":null,"epoch":0,"hop":0,"onset":0.0,"age_s":0.0,"armed":false,'
    b'"armed":true,"trouble":null,"leads":false,"published_utc":"'
)
_STAGE = (
    b'{"schema":2,"session":"20260101T000000Z-","seq":0,"utc":"2026-01-01T00:00:00.000+00:00",'
    b'"replayed":false,"subject":"m1","stream":"","kind":"final","epoch":0,"hop":0,"onset":0.0,'
    b'"epoch_s":1.0,"hop_s":1.0,"stage":"UNKNOWN","probabilities":{},"evidence":{},'
    b'"confidence":0.0,"pathway":null,"validity":{"eeg":"missing","emg":"missing"},"reason":"eeg '
    b'no_brain, emg flat","slots_filled":64,"n_context":64,"drift":null,"features":{"eeg_db":[],'
    b'"emg_db":null},"latency_s":null,"age_s":null,"published_utc":"'
    b'","kind":"live","epoch":0,"stage":"Wake","stage":"REM","stage":"NREM","probabilities":'
    b'{"Wake":0.0,"NREM":0.9,"REM":0.0},"evidence":{"Wake":0.0,"NREM":0.9,"REM":0.0},'
    b'"confidence":0.9,"pathway":"mixed","validity":{"eeg":"ok","emg":"ok"},"reason":null,'
    b'"slots_filled":64,"n_context":64,"drift":0.,"features":null,"latency_s":4.0,"age_s":4.0,'
    b'"features":{"eeg_db":[10.1,20.2,19.3,18.4,17.5,16.6,15.7,14.8,13.9,12.0,11.1,9.2,8.3,7.4,6.5,'
    b'5.6,4.7,3.8,2.9,1.0,0.1,-0.2,-1.3],"emg_db":12.4},"latency_s":0.00,"age_s":0.00,'
    b'"published_utc":"2026-01-01T00:00:00.000000+00:00","model":"","engine":"onnxruntime 1. '
    b'CPU 1 thread","config":""}'
)
TEXT = _TRIGGER + _STAGE
"""What is nearest to the end costs least to refer to."""

# A window of 2 kB holds the text, and a small table is made in less time than a message is read.
_WINDOW, _MEMORY = -11, 4


def pack(payload: bytes) -> bytes:
    """Return what is kept of a message in JSON."""
    packer = zlib.compressobj(wbits=_WINDOW, memLevel=_MEMORY, zdict=TEXT)
    return packer.compress(payload) + packer.flush()


def unpack(packed: bytes) -> bytes:
    """Return a message in JSON, byte by byte as it was published.

    Raises:
        zlib.error: it is damaged.
    """
    unpacker = zlib.decompressobj(wbits=_WINDOW, zdict=TEXT)
    payload = unpacker.decompress(packed, MOST_BYTES)
    if not unpacker.eof or unpacker.unused_data:
        raise zlib.error("no message ends where this one does")
    return payload
