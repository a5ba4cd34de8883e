"""An export's model as ONNX."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfmtl.atomic_file import replacing
from tfmtl.exporting.argument_checks import check_tolerance
from tfmtl.exporting.exported_model import ExportedModel
from tfmtl.exporting.formats.conversion import CONVERSION_TOLERANCE, Arrays, check_converted, core_signature
from tfmtl.paths import local_path


def export_onnx(
    export: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    opset: int = 17,
    tolerance: float = CONVERSION_TOLERANCE,
) -> Path:
    """Converts an export, from encoded columns to predictions, to one ONNX file.

    Inputs and outputs are those of `serving_ids`, by name; the batch is of any size. ONNX Runtime has answered random rows
    as the export does before the file is there.

    Args:
        export: a base path, whose highest version is taken, or a version's folder.
        target: the file to write.
        opset: the version of ONNX's operators.
        tolerance: how far its answers may be from the export's, in units of `max(1, |prediction|)`.

    Returns:
        `target`.

    Raises:
        ImportError: `tf2onnx` or `onnxruntime` is not installed.
        ValueError: `target` is a URL, or `tolerance` no number above 0.
        ParityError: the converted model answers otherwise; nothing is written.

    Example:

    ```python
    export_onnx("models/ranker", "ranker.onnx")  # /.../ranker.onnx
    ```
    """
    file_path = local_path(target, "target").absolute()
    check_tolerance(tolerance)
    try:
        import onnxruntime
        import tf2onnx
    except ImportError as error:
        raise ImportError("ONNX needs `pip install tfmtl[onnx]`.") from error
    loaded = ExportedModel(export)
    core, specs = core_signature(loaded)
    outputs = list(core.structured_outputs)

    def positional(*columns: Any) -> list[Any]:
        answer = core(**{spec.name: column for spec, column in zip(specs, columns, strict=True)})
        return [answer[name] for name in outputs]

    function = tf.function(positional, input_signature=specs, autograph=False)
    model, _ = tf2onnx.convert.from_function(function, input_signature=specs, opset=opset)
    _rename_outputs(model.graph, outputs)

    def run(rows: Arrays) -> dict[str, np.ndarray]:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        wanted = {given.name: rows[given.name] for given in session.get_inputs()}
        return dict(zip(outputs, session.run(outputs, wanted), strict=True))

    check_converted(loaded, run, "ONNX", tolerance)
    with replacing(file_path) as file:
        file.write_bytes(model.SerializeToString())
    return file_path


def _rename_outputs(graph: Any, names: list[str]) -> None:
    """Gives the outputs of an ONNX graph, in order, these names."""
    for output, name in zip(list(graph.output), names, strict=True):
        identity = graph.node.add(op_type="Identity", name=f"output_{name}")
        identity.input.append(output.name)
        identity.output.append(name)
        output.name = name
