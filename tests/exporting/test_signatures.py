"""Which signatures an export has, and what they share."""

import numpy as np
import pytest
from small_ranker import SCHEMA
from tensorflow.core.protobuf import saved_model_pb2

from tfmtl.exporting.export import export
from tfmtl.exporting.exported_model import ExportedModel
from tfmtl.keras_host import keras
from tfmtl.models import ple
from tfmtl.schema import Categorical, Schema, Task


def test_those_that_are_named_are_written(model, rows, tmp_path):
    version = export(model, tmp_path / "ranker", SCHEMA, examples=rows, signatures=["serving_default", "buy"])
    loaded = ExportedModel(version)
    assert sorted(loaded.signatures) == ["buy", "serving_default"]
    np.testing.assert_allclose(loaded(rows)["buy"], loaded(rows, "buy")["buy"], atol=1e-6)


@pytest.mark.parametrize("signatures", [[], ["click", "clicks"], ["score"], "share"])
def test_one_that_there_is_not_is_named(model, tmp_path, signatures):
    with pytest.raises(ValueError, match=r"`signatures` must name one or more of \['serving_default', .*'watch'\]"):
        export(model, tmp_path / "ranker", SCHEMA, signatures=signatures)


def test_rank_needs_two_sides(tmp_path):
    schema = Schema([Categorical("item", num_ids=3)], [Task("click")])
    item = keras.Input((), dtype="int32", name="item")
    model = keras.Model({"item": item}, {"click": keras.layers.Embedding(4, 1)(item)})
    with pytest.raises(ValueError, match=r"'rank', which needs features with side=.*Received: sides="):
        export(model, tmp_path / "ranker", schema, signatures=["rank"])


def size_of(tasks, folder, **options):
    """The operations in all functions of an export of a PLE with so many tasks."""
    schema = Schema([Categorical(f"f{i}", num_ids=9, dim=4) for i in range(3)], [Task(f"t{i}") for i in range(tasks)])
    model = ple(schema, units=((4,), (4,)), num_task_experts=1, num_shared_experts=1, tower_units=(), base_rates={})
    version = export(model, folder / str(tasks), schema, **options)
    saved = saved_model_pb2.SavedModel.FromString((version / "saved_model.pb").read_bytes())
    return sum(len(function.node_def) for function in saved.meta_graphs[0].graph_def.library.function)


def weights_of(signature, base):
    """How many weights and tables a signature is handed."""
    return len(ExportedModel(base).signatures[signature].captured_inputs)


def test_signatures_of_many_tasks_share_one_core(tmp_path):
    """A model's size grows with its tasks; so does its export, and not with their square."""
    four, eight = size_of(4, tmp_path), size_of(8, tmp_path)
    assert eight < 2.1 * four
    # Of a level that all tasks read, experts are one weight: a server hands every weight to every signature.
    assert weights_of("t0", tmp_path / "8") == weights_of("t0", tmp_path / "4") < 20
