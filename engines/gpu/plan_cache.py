"""Plans that were made before: a folder of plans, each with a manifest and the log of its build.

A model of several pathways has two: one computes the first pathway, which is all that most ticks
want, the other one all pathways.

A plan serves only what its key says; where anything of that changed, or a file was damaged, the
plan is built anew. Files are replaced whole.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engines.bundle import Bundle
from engines.gpu.cuda import GpuDevice
from engines.gpu.flavour import Flavour, Precision, load_library, version_of
from engines.gpu.folder import write_whole
from engines.gpu.network import derive_network
from engines.gpu.plan import OnProgress, PlanKey, build_plan, profiles_for
from models.graphs import steps

_LEAST_MAX_ROWS = 64


class PlanManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What lies beside a plan as JSON."""

    key: PlanKey
    """What it was made for."""
    sha256: str
    """Of the plan."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan in its folder."""

    path: Path
    """The plan; the build's log lies beside it as .log, the manifest as .json."""
    manifest: PlanManifest
    """What it was made for."""

    @property
    def key(self) -> PlanKey:
        """What it was made for."""
        return self.manifest.key

    def read(self) -> bytes:
        """Return its content."""
        return self.path.read_bytes()

    def beside(self, device: GpuDevice, suffix: str) -> Path:
        """Return the file for what is known of it on a device with its driver."""
        where = hashlib.sha256(f"{device.uuid} {device.driver}".encode()).hexdigest()[:12]
        return self.path.with_name(f"{self.path.stem}.{where}.{suffix}")


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """The plans that are wanted of a model.

    Args:
        bundle: the model.
        flavour: which TensorRT.
        precision: in which it computes.
        compute_capability: of the GPUs it is for, e.g. 8.9.
        n_rows: subjects in one step; plans are for some more, so that they last.
        n_slots: slots in the ring of one subject.
        n_read: slots of the window to answer for; None: all.
        driver: version of the driver; empty where there is none.
    """

    bundle: Bundle
    flavour: Flavour
    precision: Precision
    compute_capability: str
    n_rows: int
    n_slots: int
    n_read: int | None = None
    driver: str = ""

    def key(self, network: bytes) -> PlanKey:
        """Return the key of the plan for this network.

        Raises:
            EngineError: the flavour is not installed.
        """
        max_rows = max(_LEAST_MAX_ROWS, 1 << (self.n_rows - 1).bit_length())
        return PlanKey(
            network=hashlib.sha256(network).hexdigest(),
            precision=self.precision,
            profiles=profiles_for(self.flavour, max_rows),
            n_slots=self.n_slots,
            flavour=self.flavour,
            version=version_of(self.flavour) or load_library(self.flavour).__version__,
            compute_capability=self.compute_capability,
            driver=self.driver,
        )


def get_plans(request: PlanRequest, folder: Path, progress: OnProgress | None = None) -> list[Plan]:
    """Return the plan of each of a model's `steps`, from the folder or built anew.

    TensorRT-RTX's plans do not depend on the driver, so one that was compiled on a computer
    without a GPU is taken too.

    Args:
        request: what for.
        folder: where plans are kept.
        progress: called as the build goes on.

    Raises:
        EngineError: the flavour is not installed, cannot build it, or the folder cannot be written.
        BundleError: the bundle's network is unknown.
    """
    return [
        _get_plan(request, pathways, folder, progress) for pathways in steps(request.bundle.spec)
    ]


def _get_plan(
    request: PlanRequest, pathways: Sequence[str], folder: Path, progress: OnProgress | None
) -> Plan:
    network = derive_network(request.bundle, request.precision, pathways, request.n_read)
    key = request.key(network)
    keys = [key]
    if key.flavour == "rtx" and key.driver:
        keys.append(msgspec.structs.replace(key, driver=""))
    for known in keys:
        if plan := find_plan(known, folder):
            return plan
    return _store(key, *build_plan(network, key, progress), folder)


def request_for(
    device: GpuDevice,
    bundle: Bundle,
    flavour: Flavour,
    precision: Precision,
    n_rows: int,
    hops: int,
    n_read: int | None,
) -> PlanRequest:
    """Return the request of plans for a GPU in this computer."""
    n_slots = bundle.spec.ring_length(hops)
    capability, driver = device.compute_capability, device.driver
    return PlanRequest(bundle, flavour, precision, capability, n_rows, n_slots, n_read, driver)


def find_plan(key: PlanKey, folder: Path) -> Plan | None:
    """Return the plan of a key if it is there whole."""
    path = folder / f"{key.name}.plan"
    try:
        manifest = msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=PlanManifest)
        whole = hashlib.sha256(path.read_bytes()).hexdigest() == manifest.sha256
    except (OSError, msgspec.DecodeError):
        return None
    return Plan(path, manifest) if whole and manifest.key == key else None


def _store(key: PlanKey, content: bytes, log: list[str], folder: Path) -> Plan:
    """Write a plan with its log; the manifest comes last and vouches for it."""
    path = folder / f"{key.name}.plan"
    manifest = PlanManifest(key=key, sha256=hashlib.sha256(content).hexdigest())
    write_whole(path.with_suffix(".log"), "\n".join(log).encode())
    write_whole(path, content)
    write_whole(path.with_suffix(".json"), msgspec.json.format(msgspec.json.encode(manifest)))
    return Plan(path, manifest)
