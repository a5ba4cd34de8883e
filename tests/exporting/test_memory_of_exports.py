"""An export holds one form of its graph at a time."""

import importlib
import weakref

import tensorflow as tf
from small_ranker import SCHEMA

from tfmtl.exporting import parity

exporting = importlib.import_module("tfmtl.exporting.export")  # by its name it is the function


def test_graphs_are_let_go_as_soon_as_nobody_needs_them(model, rows, tmp_path, monkeypatch):
    """With sixty tasks each is a fifth of a gigabyte: traced, built, written, loaded, prepared to be asked."""
    graphs = {"traced": [], "built": [], "the model's": [], "asked": []}
    alive = {}

    def recording(module, name, kind, graphs_of):
        original = getattr(module, name)

        def recorded(*args, **kwargs):
            found = original(*args, **kwargs)
            graphs[kind] += map(weakref.ref, graphs_of(found))
            return found

        monkeypatch.setattr(module, name, recorded)

    def counting(module, name):
        original = getattr(module, name)

        def counted(*args, **kwargs):
            alive[name] = {kind: sum(graph() is not None for graph in found) for kind, found in graphs.items()}
            return original(*args, **kwargs)

        monkeypatch.setattr(module, name, counted)

    counting(parity, "taking_a_dict")
    recording(exporting, "trace_model", "traced", lambda traced: [traced.function.graph])
    recording(exporting, "build_signatures", "built", lambda built: [each.concrete.graph for each in built.values()])
    recording(exporting, "concrete_function", "the model's", lambda concrete: [concrete.graph])
    recording(parity, "taking_a_dict", "asked", lambda function: [function])
    counting(exporting, "write_saved_model")
    counting(tf.saved_model, "load")
    exporting.export(model, tmp_path / "ranker", SCHEMA, examples=rows)

    assert {kind: len(found) for kind, found in graphs.items()} == {
        "traced": 1,
        "built": 8,
        "the model's": 1,
        "asked": 8,
    }
    assert alive["write_saved_model"] == {"traced": 0, "built": 8, "the model's": 0, "asked": 0}
    assert alive["load"] == {"traced": 0, "built": 0, "the model's": 0, "asked": 0}
    assert alive["taking_a_dict"]["asked"] == 1  # the one before
