"""All fields of a row in one tensor."""

from collections.abc import Iterable

from tfmtl.keras_host import ops
from tfmtl.typing import Tensor


def join_fields(fields: Iterable[Tensor]) -> Tensor:
    """All fields `(B, D_f)` as one `(B, sum D_f)`."""
    parts = list(fields)
    return ops.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]
