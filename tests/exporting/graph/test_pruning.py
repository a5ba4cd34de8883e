"""`tasks=` leaves out what only the other heads needed."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tfmtl.data.preprocessing import Preprocessor
from tfmtl.exporting.export import export
from tfmtl.exporting.exported_model import ExportedModel
from tfmtl.keras_host import keras
from tfmtl.layers.stem_embedding import STEMEmbedding
from tfmtl.models.build import build, encoded_inputs
from tfmtl.schema import Categorical, Schema, Task
from tfmtl.stages.bottoms import STEMRepresentation
from tfmtl.stages.heads import Towers
from tfmtl.stages.trunks import CGC

SCHEMA = Schema(
    [Categorical("item", num_ids=5000, dim=8), Categorical("city", vocabulary=("Oslo", "Rome"), dim=8)],
    [Task(name) for name in ("click", "buy", "share", "like")],
)
ROWS = {"item": np.arange(20, dtype=np.int64) * 300 - 5, "city": np.array(["Oslo", "Rome", "", "?"] * 5, object)}


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """A STEM model, all of it and its first task only."""
    bottom, trunk = (
        STEMRepresentation(SCHEMA.features, SCHEMA.task_names),
        CGC(16, num_task_experts=2, num_shared_experts=2),
    )
    model = build(SCHEMA, bottom, trunk, Towers(SCHEMA.tasks, units=(8,)))
    base = tmp_path_factory.mktemp("models") / "stem"
    everything = export(model, base, SCHEMA, examples=ROWS)
    return model, everything, export(model, base, SCHEMA, examples=ROWS, tasks=["click"])


def test_the_heads_that_are_left_answer_the_same(versions):
    model, _, pruned = versions
    answer = ExportedModel(pruned)(ROWS)
    assert set(answer) == {"click"}
    expected = model.predict(Preprocessor(SCHEMA.features)(ROWS), verbose=0)
    np.testing.assert_allclose(answer["click"], expected["click"], atol=1e-6)


def test_only_the_signatures_of_exported_tasks_are_there(versions):
    _, everything, pruned = versions
    assert "buy" in ExportedModel(everything).signatures and "buy" not in ExportedModel(pruned).signatures


def test_experts_gates_and_towers_of_other_tasks_are_gone(versions):
    _, everything, pruned = versions
    assert operations(pruned) < 0.8 * operations(everything)
    assert matmuls(pruned) < 0.35 * matmuls(everything)
    assert len(shapes(pruned)) < 0.5 * len(shapes(everything))


def test_tables_of_other_tasks_are_gone(versions):
    """The weight holds five tables of width 8 side by side: four tasks' and the shared one. Two are read."""
    _, everything, pruned = versions
    rows = 5001 + 3
    assert (rows, 40) in shapes(everything)
    assert sum(shape[1] for shape in shapes(pruned) if shape[0] == rows) == 16
    assert size(pruned) < 0.45 * size(everything)


def test_a_tasks_own_signature_computes_no_more_than_an_export_of_that_task(versions):
    _, everything, pruned = versions
    assert matmuls(everything, "click") == matmuls(pruned, "serving_default") == matmuls(pruned, "click")


def operations(folder):
    return json.loads((folder / "assets.extra" / "model_card.json").read_text())["signatures"]["serving_default"][
        "operations"
    ]


def matmuls(folder, signature="serving_default"):
    """How many matmuls one call runs, in the functions that it calls too."""
    definition = ExportedModel(folder).signatures[signature].graph.as_graph_def()
    library = {f.signature.name: f for f in definition.library.function}

    def count(nodes):
        called = [node.attr["f"].func.name for node in nodes if "PartitionedCall" in node.op]
        own = sum(node.op in ("MatMul", "BatchMatMulV2") for node in nodes)
        return own + sum(count(library[name].node_def) for name in called)

    return count(definition.node)


def shapes(folder):
    """Shapes of the weights, as they lie on disk."""
    variables = tf.train.list_variables(str(folder / "variables" / "variables"))
    return [tuple(shape) for name, shape in variables if name.startswith("weights")]


def size(folder):
    return sum(file.stat().st_size for file in (folder / "variables").iterdir())


def model_of(streams, inputs):
    """A head a task that reads the task's stream and the shared one."""
    joined = {task: keras.layers.Concatenate()([*own, *streams["shared"]]) for task, own in streams.items()}
    heads = {task: keras.layers.Dense(1, name=task)(joined[task]) for task in SCHEMA.task_names}
    return keras.Model(inputs, heads)


def test_streams_of_several_fields_are_left_out_too(tmp_path):
    """Of an embedding layer in a model of the user's own, which gives each stream as a dict of fields."""
    inputs = encoded_inputs(SCHEMA.features)
    fields = STEMEmbedding(SCHEMA.features, [*SCHEMA.task_names, "shared"])(inputs)
    model = model_of({stream: list(own.values()) for stream, own in fields.items()}, inputs)
    pruned = export(model, tmp_path / "own", SCHEMA, examples=ROWS, tasks=["buy", "like"])
    assert sum(shape[1] for shape in shapes(pruned) if shape[0] == 5001 + 3) == 3 * 8


def test_a_bottom_that_reads_other_columns_than_the_models_stays_whole(tmp_path):
    inputs = encoded_inputs(SCHEMA.features)
    shifted = {**inputs, "item": keras.layers.Maximum()([inputs["item"], inputs["city"]])}
    streams = STEMRepresentation(SCHEMA.features, SCHEMA.task_names)(shifted)
    model = model_of({stream: [tensor] for stream, tensor in streams.items()}, inputs)
    pruned = export(model, tmp_path / "shifted", SCHEMA, examples=ROWS, tasks=["buy"])
    assert (5001 + 3, 5 * 8) in shapes(pruned)
