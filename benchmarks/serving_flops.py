"""How many floating-point operations the matmuls of a request take: what no implementation can save."""

from dataclasses import replace
from typing import Any

import tensorflow as tf
from serving_models import Workload

from tfmtl.data.preprocessing import Preprocessor
from tfmtl.exporting.graph.traced_function import concrete_function
from tfmtl.exporting.rank_signature import rank_signature
from tfmtl.exporting.traced_model import trace_model
from tfmtl.keras_host import inputs_by_name, keras


def ranking_flops(workload: Workload, model: keras.Model, candidates: int) -> tuple[int, int]:
    """Operations of all matmuls for one user and so many candidates: as full rows, and as `rank`."""
    preprocessor = Preprocessor(workload.schema.features)
    inputs = inputs_by_name(model)
    traced = trace_model(model, inputs, preprocessor, workload.schema.task_names)
    # The batch size is fixed, so that every shape in the graph is known.
    fixed = {
        name: tf.TensorSpec((candidates, *_inner(spec)), spec.dtype) for name, spec in traced.raw_signature.items()
    }

    def predict(**columns: Any) -> dict[str, Any]:
        encoded = preprocessor(columns)
        return model({name: encoded[name] for name in inputs}, training=False)

    full = concrete_function(predict, fixed)
    rank = rank_signature(replace(traced, raw_signature=fixed), workload.schema)
    if rank is None:
        raise ValueError(f"{workload.title} has no `rank`.")
    return _flops(full.graph), _flops(rank.concrete.graph)


def _inner(spec: tf.TensorSpec) -> tuple[int, ...]:
    """A row's shape; events that are more than a model keeps are cut off before any matmul."""
    return tuple(size or 1 for size in spec.shape[1:])


def _flops(graph: tf.Graph) -> int:
    return sum(_of_matmul(op) for op in graph.get_operations() if op.type in ("MatMul", "BatchMatMulV2", "BatchMatMul"))


def _of_matmul(op: Any) -> int:
    swapped = op.get_attr("transpose_a" if op.type == "MatMul" else "adj_x")
    return 2 * op.outputs[0].shape.num_elements() * op.inputs[0].shape[-2 if swapped else -1]
