"""What TensorRT-RTX compiled when it first ran a plan here: kept beside it for the next start.

One file for each plan on a device with its driver. TensorRT-RTX looks itself whether what it is
given was made here, but not whether all of it arrived: that is vouched for here. The file is taken
away while it is used, so that one which ends the process is not met again.
"""

import hashlib

import msgspec

from engines.gpu.cuda import GpuDevice
from engines.gpu.folder import write_whole
from engines.gpu.plan_cache import Plan

_SUFFIX = "cache"


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file, as MessagePack."""

    plan_sha256: str
    """The plan."""
    sha256: str
    """Of the content."""
    content: bytes
    """As TensorRT-RTX gives it."""


def take_runtime_cache(plan: Plan, device: GpuDevice) -> bytes:
    """Return what was kept of a plan on a device, once; nothing where that is not there whole."""
    path = plan.beside(device, _SUFFIX)
    try:
        content = path.read_bytes()
        path.unlink()
        kept = msgspec.msgpack.decode(content, type=_Kept)
    except (FileNotFoundError, msgspec.DecodeError):
        return b""
    whole = hashlib.sha256(kept.content).hexdigest() == kept.sha256
    return kept.content if whole and kept.plan_sha256 == plan.manifest.sha256 else b""


def keep_runtime_cache(plan: Plan, device: GpuDevice, content: bytes) -> None:
    """Keep it; raises EngineError where the folder of plans cannot be written to."""
    digest = hashlib.sha256(content).hexdigest()
    kept = _Kept(plan_sha256=plan.manifest.sha256, sha256=digest, content=content)
    write_whole(plan.beside(device, _SUFFIX), msgspec.msgpack.encode(kept))
