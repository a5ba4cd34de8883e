"""From a trained model to a version that TensorFlow Serving loads."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tfmtl.data.preprocessing import Preprocessor
from tfmtl.keras_host import keras
from tfmtl.serving.bundle import write_bundle
from tfmtl.serving.endpoints import Encoder
from tfmtl.serving.score import Score
from tfmtl.spec import Schema


def export(
    model: keras.Model,
    path: str | os.PathLike[str],
    schema: Schema,
    *,
    preprocessor: Encoder | None = None,
    version: int | None = None,
    tasks: Iterable[str] | None = None,
    examples: Any = None,
    score: Score | None = None,
    keep: int | None = None,
    metrics: Mapping[str, Any] | None = None,
    data: str | None = None,
) -> Path:
    """Writes `model` with its preprocessing as the next version under `path`, if it answers as it does in memory.

    Signatures, all batch-major and of any batch size:

    ```
    serving_default   raw columns, named as in the schema      -> {task: (B, 1) float32}
    serving_ids       encoded columns, as the model reads them -> the same
    ```

    Before the version appears, the exported graph is loaded back and asked about `examples` and about rows made to be
    awkward (unknown ids, NaN, empty histories); every answer must be the model's. The version then appears by one
    rename, so a server never sees half of it, whenever the export is killed.

    Args:
        model: a functional model from encoded columns to `{task: (B, 1) float32}`.
        path: the base path, for example `models/ranker`. Versions are folders `1`, `2`, ... in it; they are prepared
            beside it, in `.ranker.export-...`.
        schema: an adapted schema with the features that the model reads and the tasks that it predicts.
        preprocessor: what encodes raw columns; by default `tfmtl.Preprocessor(schema.features)`.
        version: a number that is not taken; by default one more than the highest.
        tasks: heads to export, by default all. What only other heads needed (experts, gates, tables) is left out.
        examples: raw columns to compare on, `{column: values}` or a dataset of batches; the first 1,024 rows are used.
        keep: how many versions to keep, the newest; by default all.

    Returns:
        The version's folder.

    Raises:
        ValueError: a schema that is not adapted, a model that does not fit it, unknown tasks, or examples that lack a column.
        FileExistsError: the version exists.
        ParityError: the exported graph answers otherwise than the model, or the model answers NaN. Nothing is published.

    Example:

    >>> tfmtl.export(model, "models/ranker", schema, examples=tfmtl.read("valid.parquet", schema, batch_size=256))
    PosixPath('/.../models/ranker/1')
    """
    return write_bundle(
        model,
        path,
        schema,
        preprocessor or Preprocessor(schema.features),
        version=version,
        tasks=tasks,
        examples=examples,
        score=score,
        keep=keep,
        metrics=metrics,
        data=data,
    )
