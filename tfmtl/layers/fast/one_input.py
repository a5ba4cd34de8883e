"""A CGC cell whose streams are one tensor: wider products, fewer of them."""

from collections.abc import Mapping, Sequence

from tfmtl.keras_host import ops
from tfmtl.layers.experts import Experts
from tfmtl.layers.fast.mixing import mix
from tfmtl.layers.gate import Gate
from tfmtl.typing import Streams, Tensor


def mix_one_input(
    x: Tensor,
    experts: Mapping[str, Experts],
    gates: Mapping[str, Gate],
    candidates: Mapping[str, Sequence[str]],
    training: bool | None,
) -> Streams:
    """`{reader: sum_i w_i e_i}` where all experts and all gates read `x`.

    One matmul makes all experts, another all gates, and `mix` joins them in one: a reader's gate is minus infinity,
    its weight zero, where an expert is no candidate of its.

    Args:
        x: `(B, D)`.
        experts: for each source.
        gates: for each reader, linear, over the experts of its candidates.
        candidates: for each reader the sources that it reads, in the order of `experts`.
        training: as in a layer's `call`.
    """
    first, *others = experts.values()
    values = first.call_with(others, x, training)  # (B, E, U)
    dtype = values.dtype
    kernels, masks = [], []
    for reader, gate in gates.items():
        kernel, mask = _spread(gate, experts, candidates[reader])
        kernels.append(kernel)
        masks.append(mask)
    logits = ops.matmul(x, ops.cast(ops.concatenate(kernels, axis=1), dtype))
    logits = ops.cast(logits, "float32") + ops.concatenate(masks)
    weights = ops.softmax(ops.reshape(logits, (-1, len(gates), values.shape[1])), axis=-1)  # (B, R, E)
    return dict(zip(gates, mix(ops.cast(weights, dtype), values, training), strict=True))


def _spread(gate: Gate, experts: Mapping[str, Experts], candidates: Sequence[str]) -> tuple[Tensor, Tensor]:
    """A gate's kernel with a column for every expert, `(D, E)`, and what is added to its logits, `(E,)` float32."""
    kernel, bias = gate.logits.kernel, gate.logits.bias if gate.use_bias else None
    columns, added, start = [], [], 0
    for source, layer in experts.items():
        if source in candidates:
            columns.append(kernel[:, start : start + layer.num])
            added.append(
                ops.zeros(layer.num, "float32")
                if bias is None
                else ops.cast(bias[start : start + layer.num], "float32")
            )
            start += layer.num
        else:
            columns.append(ops.zeros((kernel.shape[0], layer.num), kernel.dtype))
            added.append(ops.full((layer.num,), float("-inf"), "float32"))
    return ops.concatenate(columns, axis=1), ops.concatenate(added)
