"""The bookkeeping of a GPU's ticks: batch sizes, buffers and places in the ring. No CUDA here.

A CUDA graph replays copies and kernels with the addresses and shapes of its recording. So there
is one graph per step and batch size, of which there are few (buckets; a smaller batch is padded),
and all use the same buffers: every buffer's first axis is the batch, so that a smaller bucket's
content is a prefix. The ring of tokens is one array of slots, those of a row side by
side. Which are read is said by indices, which are data, so that rows advance independently under
one graph. The new tokens are copied to their slots after it, neighbours that are at the same slot
by one call.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from engines.context import ContextWindow
from models.graphs import BATCH, Ports, ring_step_inputs, ring_step_outputs
from models.spec import ModelSpec


def input_buffers(spec: ModelSpec) -> Ports:
    """Return what is copied to the GPU in each tick, by the network's names."""
    return _of_a_tick(ring_step_inputs(spec))


def output_buffers(spec: ModelSpec, pathways: Sequence[str], n_read: int) -> Ports:
    """Return what is copied from the GPU in a tick of some pathways, by the network's names."""
    return _of_a_tick(ring_step_outputs(spec, pathways, n_read))


def _of_a_tick(ports: Ports) -> Ports:
    return {name: port for name, port in ports.items() if port.first == BATCH}


def token_bytes(spec: ModelSpec) -> int:
    """Return the size of one slot of the ring."""
    return ring_step_inputs(spec)["ring"].n_bytes(1)


def bucket_sizes(n_rows: int) -> tuple[int, ...]:
    """Return the batch sizes to record: powers of two, and all rows."""
    powers = (1 << i for i in range((n_rows - 1).bit_length()))
    return (*powers, n_rows)


def bucket_for(n: int, sizes: tuple[int, ...]) -> int:
    """Return the smallest of the sizes, in order, that n rows fit into."""
    return sizes[bisect_left(sizes, n)]


def fill_inputs(
    buffers: Mapping[str, NDArray[np.generic]],
    bucket: int,
    rows: NDArray[np.intp],
    epochs: NDArray[np.float32],
    mask: NDArray[np.bool_],
    context: ContextWindow,
) -> None:
    """Write the inputs of a tick for n rows into the first `bucket` places of the buffers.

    What pads the batch is masked throughout, wherever it reads.

    Args:
        buffers: of at least `bucket` places, by the names of `input_buffers`.
        bucket: at least n.
        rows: (n,).
        epochs: (n, n_modalities, n_inputs).
        mask: (n, n_context, n_modalities).
        context: says which slots the rows are at.
    """
    n, first = len(rows), rows * context.n_slots
    for name, content in (
        ("epochs", epochs),
        ("mask", mask),
        ("before", first[:, None] + context.before(rows)),
    ):
        buffers[name][:n] = content
        buffers[name][n:bucket] = 0


def token_runs(rows: NDArray[np.intp], context: ContextWindow) -> Iterator[tuple[int, int, int]]:
    """Yield which new tokens of a batch go to slots of the ring that are a row's length apart.

    Args:
        rows: (n,).
        context: says which slots the rows are at.

    Yields:
        The first one's place in the batch, how many there are, and the first one's slot.
    """
    slots = rows * context.n_slots + context.next_slot(rows)
    ends = [*np.flatnonzero(np.diff(slots) != context.n_slots) + 1, len(rows)]
    for first, end in zip([0, *ends], ends, strict=False):
        yield int(first), int(end - first), int(slots[first])
