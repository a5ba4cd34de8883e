"""Encoded columns, as layers read them."""

from collections.abc import Iterable

from tfmtl.keras_host import ops
from tfmtl.schema import Numeric
from tfmtl.typing import Encoded, Tensor


def check_columns(columns: Iterable[str], encoded: Encoded) -> None:
    """Raises ValueError unless `encoded` holds all of `columns`."""
    missing = [column for column in columns if column not in encoded]
    if missing:
        raise ValueError(f"The input lacks columns {missing}. Received: keys={sorted(encoded)}")


def values_and_flags(feature: Numeric, x: Tensor, dtype: str) -> Tensor:
    """`(B,)` or `(B, size)` -> `(B, width)`: the numbers, NaN as 0, then a 1 for each that was NaN, or for any, if that is flagged."""
    x = x[:, None] if len(x.shape) == 1 else x
    if x.shape[-1] != feature.size:
        raise ValueError(
            f"Column {feature.name!r} must hold {feature.size} numbers a row. Received: shape={tuple(x.shape)}"
        )
    missing = ops.isnan(x)
    values = ops.cast(ops.where(missing, ops.zeros_like(x), x), dtype)
    if feature.flag_missing is False:
        return values
    if feature.flag_missing == "row":
        missing = ops.any(missing, axis=-1, keepdims=True)
    return ops.concatenate([values, ops.cast(missing, dtype)], axis=-1)
