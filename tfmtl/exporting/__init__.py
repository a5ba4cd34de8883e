"""From a model in memory to a version on disk that TensorFlow Serving loads, and from there to other formats."""

from tfmtl.exporting.export import export
from tfmtl.exporting.exported_model import ExportedModel
from tfmtl.exporting.formats.litert import export_litert
from tfmtl.exporting.formats.onnx import export_onnx
from tfmtl.exporting.parity import ParityError
from tfmtl.exporting.score import Score

__all__ = ["ExportedModel", "ParityError", "Score", "export", "export_litert", "export_onnx"]
