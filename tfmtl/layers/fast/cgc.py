"""A CGC cell: the numbers of `CGCLayer.call` from fewer, wider products.

```
w_r = softmax(W_r z_r)            a reader's gate
y_r = sum_s w_{r,s} E_s(x_s)      over its candidates, the experts of the sources s
```
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from tfmtl.keras_host import ops
from tfmtl.layers.experts import Experts
from tfmtl.layers.fast.weighted_sums import sums_in_one_product, weighted_sums
from tfmtl.layers.gate import Gate
from tfmtl.layers.weighted_sum import in_parts, weighted_sum
from tfmtl.typing import SHARED, Streams, Tensor


@dataclass(frozen=True)
class Cell:
    """Who mixes whose experts.

    Args:
        experts: for each source.
        gates: for each reader of more than one expert.
        candidates: for each reader the sources that it reads, in the order of its gate's weights.
        detached: for each reader those of its candidates that get no gradient from it.
    """

    experts: Mapping[str, Experts]
    gates: Mapping[str, Any]
    candidates: Mapping[str, tuple[str, ...]]
    detached: Mapping[str, frozenset[str]]


def train_cell(cell: Cell, streams: Streams, selectors: Streams) -> Streams:
    """`{reader: y_r}` of a step of training.

    Args:
        cell: the experts and gates.
        streams: what experts read, `(B, D)` for each source.
        selectors: what gates read, `(B, D)` for each reader that has one.
    """
    inputs = [*(streams[source] for source in cell.experts), *selectors.values()]
    # Under a shared bottom a model hands on one tensor for all streams. Before there are values, that they are equal
    # can be told by this alone: that they are one object.
    if _may_join(cell) and all(x is inputs[0] for x in inputs):
        return mix_one_input(cell, inputs[0])
    return mix_several_inputs(cell, streams, selectors)


def _may_join(cell: Cell) -> bool:
    """Whether all experts and gates may be computed together where they read one tensor."""
    return (
        SHARED in cell.experts
        and len(cell.experts) > 1
        and all(isinstance(gate, Gate) and not gate.units for gate in cell.gates.values())
        and len({gate.use_bias for gate in cell.gates.values()}) == 1
        and not any(cell.detached.values())
    )


def mix_several_inputs(cell: Cell, streams: Streams, selectors: Streams) -> Streams:
    """Source by source: one product sums the experts of a source for all that read them."""
    weights = {reader: _by_source(cell, reader, gate(selectors[reader])) for reader, gate in cell.gates.items()}
    mixed: dict[str, list[Tensor]] = {reader: [] for reader in cell.candidates}
    for source, layer in cell.experts.items():
        for readers, experts in _routes(cell, source, layer(streams[source], training=True)):
            gated = {reader: weights[reader][source] for reader in readers if reader in weights}
            sums = weighted_sums(gated, experts, training=True) if gated else {}
            for reader in readers:
                mixed[reader].append(sums[reader] if reader in sums else experts[:, 0])  # its only candidate
    return {reader: _total(parts) for reader, parts in mixed.items()}


def _by_source(cell: Cell, reader: str, weights: Tensor) -> dict[str, Tensor]:
    """The weights that `reader` gives to each source's experts."""
    sources = cell.candidates[reader]
    return dict(zip(sources, in_parts(weights, [cell.experts[source].num for source in sources]), strict=True))


def _routes(cell: Cell, source: str, experts: Tensor) -> Iterator[tuple[list[str], Tensor]]:
    """The readers of a source with what they read: the experts, or the experts without a way back."""
    readers = [reader for reader, sources in cell.candidates.items() if source in sources]
    detached = [reader for reader in readers if source in cell.detached[reader]]
    attached = [reader for reader in readers if reader not in detached]
    if attached:
        yield attached, experts
    if detached:
        yield detached, ops.stop_gradient(experts)


def _total(parts: list[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def mix_one_input(cell: Cell, x: Tensor) -> Streams:
    """All experts and all gates read `x`, `(B, D)`: one product makes the experts, one the gates, one the sums.

    A reader's gate is minus infinity, its weight zero, where an expert is no candidate of its.
    """
    experts = _all_experts(cell, x, training=True)  # (B, E, U)
    dtype = experts.dtype
    columns, mask = _columns(cell)
    gates = [gate.logits for gate in cell.gates.values()]
    nothing = ops.zeros((gates[0].kernel.shape[0], 1), gates[0].kernel.dtype)
    # Few operations, however many gates there are.
    kernel = ops.concatenate([*(gate.kernel for gate in gates), nothing], axis=1)
    kernel = ops.transpose(ops.take(ops.transpose(kernel), columns, axis=0))  # (D, R E)
    logits = ops.cast(ops.matmul(x, ops.cast(kernel, dtype)), "float32") + mask
    if gates[0].use_bias:
        biases = ops.concatenate([*(ops.cast(gate.bias, "float32") for gate in gates), np.zeros(1, "float32")])
        logits = logits + ops.take(biases, columns)
    weights = ops.softmax(ops.reshape(logits, (-1, len(cell.gates), experts.shape[1])), axis=-1)  # (B, R, E)
    return dict(zip(cell.gates, sums_in_one_product(ops.cast(weights, dtype), experts), strict=True))


def reads_one_input(cell: Cell, streams: Streams, selectors: Streams) -> bool:
    """Whether all experts are one product outside of training: all read one tensor, and one reader reads them all, none detached.

    Where none does, as in a last level, an export of one task would pay for the experts of others.
    """
    inputs = [*(streams[source] for source in cell.experts), *selectors.values()]
    joins = len(cell.experts) > 1 and any(set(sources) == set(cell.experts) for sources in cell.candidates.values())
    return joins and not any(cell.detached.values()) and all(x is inputs[0] for x in inputs)


def serve_one_input(cell: Cell, x: Tensor) -> Streams:
    """All experts read `x`, `(B, D)`, in one product; each reader sums its own, so that an export of some leaves the others out."""
    experts = _all_experts(cell, x, training=False)  # (B, E, U)
    edges = dict(zip(cell.experts, accumulate(layer.num for layer in cell.experts.values()), strict=True))
    blocks = {source: experts[:, edge - cell.experts[source].num : edge] for source, edge in edges.items()}
    mixed = {}
    for reader, sources in cell.candidates.items():
        selected = [experts] if sources == tuple(cell.experts) else [blocks[source] for source in sources]
        mixed[reader] = weighted_sum(cell.gates[reader](x), selected) if reader in cell.gates else selected[0][:, 0]
    return mixed


def _all_experts(cell: Cell, x: Tensor, *, training: bool) -> Tensor:
    """The experts of all sources, which are alike but for their number."""
    layers = list(cell.experts.values())
    depths = range(len(layers[0].units))
    kernels = [ops.concatenate([layer.kernels[depth] for layer in layers]) for depth in depths]
    biases = [ops.concatenate([layer.biases[depth] for layer in layers]) for depth in depths]
    return layers[0].apply(x, kernels, biases, training=training)


def _columns(cell: Cell) -> tuple[np.ndarray, np.ndarray]:
    """For each gate and expert, `(R E,)`: its column among those of all gates, or one past them; and the mask of its logits."""
    edges = np.cumsum([0, *(layer.num for layer in cell.experts.values())])
    experts = {source: np.arange(*edges[place : place + 2]) for place, source in enumerate(cell.experts)}
    read = [np.concatenate([experts[source] for source in cell.candidates[reader]]) for reader in cell.gates]
    places = np.concatenate([own + number * edges[-1] for number, own in enumerate(read)])
    columns = np.full(len(read) * edges[-1], places.size)
    columns[places] = np.arange(places.size)
    return columns, np.where(columns < places.size, 0.0, -np.inf).astype("float32")
