"""Where a net is trained: processor or GPU, in which precision, alone or as one of several.

Several processes, one for each GPU, are started by torch's own launcher:
`torchrun --nproc-per-node 2 --no-python hypnod train …`. Each reads all the data and learns from
its share of every batch.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from models.errors import SpecError
from models.training.choices import DeviceName, DtypeName


@dataclass(frozen=True)
class Device:
    """Where this process trains."""

    place: torch.device
    dtype: torch.dtype
    """Of matrix products; everything else stays float32."""
    rank: int = 0
    """Which of the processes this is; the first one reports and writes."""
    n_ranks: int = 1

    def autocast(self) -> torch.autocast:
        """Multiply matrices in this precision, inside a `with`."""
        on = self.dtype != torch.float32
        return torch.autocast(self.place.type, self.dtype if on else None, enabled=on)

    def scaler(self) -> torch.amp.GradScaler:
        """Return what keeps float16's gradients from vanishing; for other types it does nothing."""
        return torch.amp.GradScaler(self.place.type, enabled=self.dtype == torch.float16)

    def parallel(self, model: nn.Module) -> nn.Module:
        """Return what to call instead of `model`, so that gradients are those of all processes."""
        return DistributedDataParallel(model) if self.n_ranks > 1 else model

    def agree(self, value: float) -> float:
        """Return the first process's value in all of them."""
        if self.n_ranks == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.place)
        distributed.broadcast(shared, src=0)
        return float(shared.item())

    def __str__(self) -> str:
        processes = f", {self.n_ranks} processes" if self.n_ranks > 1 else ""
        gpu = f" ({torch.cuda.get_device_name(self.place)})" if self.place.type == "cuda" else ""
        return f"{self.place.type}{gpu}, {str(self.dtype).removeprefix('torch.')}{processes}"


@contextmanager
def open_device(name: DeviceName = "auto", precision: DtypeName = "auto") -> Iterator[Device]:
    """Choose where to train; under torchrun, meet the other processes and part in the end.

    Args:
        name: auto: the GPU that torch was built for and finds, else the processor.
        precision: auto: bfloat16 where there are instructions for it, else float16 on a GPU and
            float32 on a processor.

    Raises:
        SpecError: there is no such GPU.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise SpecError("device: expected a CUDA GPU and a torch for it, found none")
    gpu = name != "cpu" and torch.cuda.is_available()
    n_ranks, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    place = torch.device("cpu")
    if gpu:
        place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(place)
    dtype = _best(gpu) if precision == "auto" else getattr(torch, precision)
    if n_ranks == 1:
        yield Device(place, dtype)
        return
    distributed.init_process_group("nccl" if gpu else "gloo")
    try:
        yield Device(place, dtype, rank, n_ranks)
    finally:
        distributed.destroy_process_group()


def _best(gpu: bool) -> torch.dtype:
    if gpu:
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    fast = torch.cpu.get_capabilities()
    return torch.bfloat16 if fast.get("avx512_bf16") or fast.get("amx_bf16") else torch.float32
