"""Whole models compiled by XLA, as Keras 3 does by itself on a GPU: the same steps."""

import numpy as np
import pytest
from dtrn_cases import LABELS, ROWS, SCHEMA
from harness import fit_callbackless

from tfmtl.keras_host import keras
from tfmtl.models import presets
from tfmtl.schema import Schema
from tfmtl.training.objectives import objectives

# Compiling takes the time here, and takes the less the fewer operations there are.
SMALL = {
    "ple": (("city", "age"), {"units": (4, 4), "tower_units": (3,), "num_task_experts": 1, "num_shared_experts": 1}),
    "dtrn": (
        ("item", "bought"),
        {"target": "item", "units": (4,), "tower_units": (), "hyper_units": ()},
    ),
}


@pytest.mark.keras3
@pytest.mark.parametrize("preset", SMALL)
def test_compiled_by_xla_it_is_the_same(preset):
    names, options = SMALL[preset]
    schema = Schema([SCHEMA.feature(name) for name in names], SCHEMA.tasks)
    rows = {column: values for column, values in ROWS.items() if column.startswith(names)}
    weights = []
    for compiled in (False, True):
        keras.utils.set_random_seed(5)
        model = getattr(presets, preset)(schema, **options)
        model.compile("adagrad", objectives(schema.tasks)["loss"], jit_compile=compiled, run_eagerly=not compiled)
        fit_callbackless(model, rows, LABELS, batch_size=2, shuffle=False)
        weights.append(model.get_weights())
    for compiled, plain in zip(*weights, strict=True):
        np.testing.assert_allclose(compiled, plain, rtol=1e-4, atol=1e-6)
