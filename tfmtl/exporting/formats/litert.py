"""An export's model as LiteRT (TensorFlow Lite)."""

import os
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfmtl.atomic_file import replacing
from tfmtl.exporting.argument_checks import check_tolerance
from tfmtl.exporting.exported_model import ExportedModel
from tfmtl.exporting.formats.conversion import CONVERSION_TOLERANCE, CORE, Arrays, check_converted, core_signature
from tfmtl.paths import local_path


def export_litert(
    export: str | os.PathLike[str], target: str | os.PathLike[str], *, tolerance: float = CONVERSION_TOLERANCE
) -> Path:
    """Converts an export, from encoded columns to predictions, to one LiteRT file.

    The file has one signature, `serving_ids`, with its inputs and outputs by name, and needs no operator but LiteRT's own.
    The interpreter has answered random rows as the export does before the file is there.

    Args:
        export: a base path, whose highest version is taken, or a version's folder.
        target: the file to write.
        tolerance: how far its answers may be from the export's, in units of `max(1, |prediction|)`.

    Returns:
        `target`.

    Raises:
        ValueError: `target` is a URL, or `tolerance` no number above 0.
        ParityError: the converted model answers otherwise; nothing is written.

    Example:

    ```python
    export_litert("models/ranker", "ranker.tflite")  # /.../ranker.tflite
    ```
    """
    file_path = local_path(target, "target").absolute()
    check_tolerance(tolerance)
    loaded = ExportedModel(export)
    model = _converted(loaded)

    def run(rows: Arrays) -> dict[str, np.ndarray]:
        return dict(tf.lite.Interpreter(model_content=model).get_signature_runner(CORE)(**rows))

    check_converted(loaded, run, "LiteRT", tolerance)
    with replacing(file_path) as file:
        file.write_bytes(model)
    return file_path


def _converted(exported: ExportedModel) -> bytes:
    """The core alone: the converter would also take the tables that other signatures read, and not all can be."""
    core, _ = core_signature(exported)
    root = tf.Module()
    root.weights = list(core.graph.variables)
    with tempfile.TemporaryDirectory() as folder:
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)  # as in `write_saved_model`
        tf.saved_model.save(root, folder, signatures={CORE: core}, options=options)
        return tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[CORE]).convert()
