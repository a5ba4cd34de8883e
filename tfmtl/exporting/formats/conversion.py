"""What conversions of an export to other formats share: the part that is converted, and the check of its answers.

Converted is `serving_ids`, the model from encoded columns on: other runtimes have no string tables, and the preprocessing
stays where `Preprocessor` runs.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfmtl.exporting.exported_model import ExportedModel
from tfmtl.exporting.parity import ParityError
from tfmtl.schema import Categorical, Numeric, Schema

CORE = "serving_ids"
CONVERSION_TOLERANCE = 1e-5
"""By default, in units of `max(1, |prediction|)`: another runtime adds up in another order."""

Arrays = Mapping[str, np.ndarray]


def encoded_rows(schema: Schema, count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Encoded columns at random: every row number, missing numbers, histories of every length."""
    rng = np.random.default_rng(seed)
    rows: dict[str, np.ndarray] = {}
    for feature in (feature.encoded() for feature in schema.features):
        if isinstance(feature, Categorical):
            rows[feature.name] = rng.integers(0, feature.rows, count, np.int32)
        elif isinstance(feature, Numeric):
            shape = (count,) if feature.size == 1 else (count, feature.size)
            numbers = rng.normal(size=shape)
            rows[feature.name] = np.where(rng.random(shape) < 0.1, np.nan, numbers).astype(np.float32)
        else:
            mask = np.arange(feature.length) < rng.integers(0, feature.length + 1, (count, 1))
            rows[feature.mask] = mask.astype(np.int32)
            for field in feature.fields:
                ids = rng.integers(0, field.rows, mask.shape, np.int32)
                rows[feature.column(field)] = np.where(mask, ids, 0).astype(np.int32)
            if feature.weights is not None:
                rows[feature.weights] = np.where(mask, rng.random(mask.shape), 0).astype(np.float32)
    return rows


def check_converted(
    exported: ExportedModel,
    run: Callable[[Arrays], Arrays],
    format_name: str,
    tolerance: float = CONVERSION_TOLERANCE,
    count: int = 64,
) -> None:
    """Raises ParityError unless `run` answers encoded rows as the export does."""
    rows = encoded_rows(exported.schema, count)
    answers = run(rows)
    for name, expected in exported(rows, CORE).items():
        wanted = np.asarray(expected)
        if name not in answers or answers[name].shape != wanted.shape:
            shapes = {key: value.shape for key, value in answers.items()}
            raise ParityError(f"The {format_name} model must give {name!r} as {wanted.shape}. Received: {shapes}")
        difference = np.abs(answers[name] - wanted) / np.maximum(1.0, np.abs(wanted))
        if not difference.max() <= tolerance:
            raise ParityError(
                f"The {format_name} model differs from the export on {name!r} by {difference.max():.3g}, more than "
                f"`tolerance={tolerance:g}`. A steep output, as an isotonic curve's, magnifies rounding: allow more where "
                "so much does not matter."
            )


def core_signature(exported: ExportedModel) -> tuple[Any, list[tf.TensorSpec]]:
    """The core of a loaded export, and the types of its inputs by name."""
    core = exported.signatures[CORE]
    specs = core.structured_input_signature[1]
    return core, [tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in specs.items()]
