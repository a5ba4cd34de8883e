"""Every kind of layer in a model that TensorFlow computes, for other backends to compute again, without TensorFlow."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tfmtl.keras_host import BACKEND, keras
from tfmtl.losses import MaskedBinaryCrossentropy
from tfmtl.models import presets
from tfmtl.models.routed import routed
from tfmtl.schema import Categorical, Numeric, Schema, Sequence, Task, TaskGrid

ROWS_EACH = 64
ITEM = Categorical("item", num_ids=7, dim=4, table="items")
FEATURES = [ITEM, Categorical("segment", num_ids=3, dim=4), Numeric("age", transform=None)]
GRID = TaskGrid([Task("finish"), Task("skip")], {"new": 0, "old": 2}, "segment")
GRIDDED = Schema(FEATURES, GRID.tasks)
SCHEMA = Schema(FEATURES, [Task("click"), Task("buy")])
HISTORIES = [Sequence("seen", (ITEM,), length=3), Sequence("bought", (ITEM,), length=2)]
HISTORIED = Schema([*FEATURES, *HISTORIES], SCHEMA.tasks)
SMALL: dict[str, Any] = {"units": (8, 6), "tower_units": (4,)}
TREE: dict[str, Any] = {"root_units": (9,), "facet_units": (7,), "leaf_units": 6, "tower_units": (4,)}
STEM: dict[str, Any] = {"units": (8,), "gate_units": (5,), "tower_units": (4,)}

MODELS: dict[str, Callable[[], Any]] = {
    "customized_sharing": lambda: presets.customized_sharing(SCHEMA, **SMALL),
    "cross_stitch": lambda: presets.cross_stitch(SCHEMA, **SMALL),
    "sluice": lambda: presets.sluice(SCHEMA, units=(8, 8), tower_units=(4,)),
    "omoe": lambda: presets.omoe(SCHEMA, **SMALL),
    "ml_mmoe": lambda: presets.ml_mmoe(SCHEMA, **SMALL),
    "ple": lambda: presets.ple(HISTORIED, **SMALL),
    "stem_net": lambda: presets.stem_net(HISTORIED, **STEM),
    "mfh": lambda: routed(presets.mfh(GRIDDED, GRID, **TREE), GRIDDED, GRID),
    "esmm": lambda: presets.esmm(SCHEMA, **SMALL),
    "aitm": lambda: presets.aitm(SCHEMA, **SMALL),
    "star": lambda: presets.star(SCHEMA, "segment", tower_units=(4,)),
    "home": lambda: presets.home(SCHEMA, **SMALL),
    "dselect_k": lambda: presets.dselect_k(SCHEMA, units=(8,), num_experts=3, tower_units=(4,)),
    "dtrn": lambda: presets.dtrn(HISTORIED, target="item", hyper_units=(), **SMALL),
}


def rows_and_labels() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    random = np.random.default_rng(0)
    rows = {
        "item": random.integers(0, 8, ROWS_EACH).astype("int32"),
        "segment": random.integers(0, 4, ROWS_EACH).astype("int32"),
        "age": np.where(random.random(ROWS_EACH) < 0.1, np.nan, random.normal(size=ROWS_EACH)).astype("float32"),
    }
    for name, length in (("seen", 3), ("bought", 2)):
        mask = np.arange(length) < random.integers(0, length + 1, (ROWS_EACH, 1))
        rows[f"{name}_item"] = np.where(mask, random.integers(1, 8, mask.shape), 0).astype("int32")
        rows[f"{name}_mask"] = mask.astype("int32")
    click = random.integers(0, 2, ROWS_EACH).astype("float32")
    buy = np.where(random.random(ROWS_EACH) < 0.3, np.nan, click * random.integers(0, 2, ROWS_EACH)).astype("float32")
    return rows, {"click": click, "buy": buy}


def compute(folder: Path) -> None:
    """Saves every model there, what it says of the rows and its weights after a step of training."""
    for name, made in MODELS.items():
        model = made()
        model.save(folder / f"{name}.keras")
        np.savez(folder / f"{name}.npz", *_said_and_trained(model))


def recompute(folder: Path, rtol: float = 1e-4, atol: float = 1e-5) -> dict[str, float]:
    """Loads what `compute` saved and does it again; returns the largest difference of each model.

    Raises:
        AssertionError: a number differs from what was saved.
    """
    worst = {}
    for name in MODELS:
        found = _said_and_trained(keras.models.load_model(folder / f"{name}.keras"))
        with np.load(folder / f"{name}.npz") as saved:
            wanted = [saved[key] for key in saved.files]
        assert len(found) == len(wanted)
        for y, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(y, other, rtol=rtol, atol=atol, err_msg=name)
        worst[name] = max(float(np.abs(y - other).max()) for y, other in zip(found, wanted, strict=True) if y.size)
    return worst


def _said_and_trained(model: Any) -> list[np.ndarray]:
    """The predictions of `model`, then its weights after one step of gradient descent on all rows."""
    rows, labels = rows_and_labels()
    rows = {name: rows[name] for name in (column.name for column in model.inputs)}
    losses = {task: MaskedBinaryCrossentropy() for task in model.output}
    # For one step each, tracing costs TensorFlow more than it gains; JAX's single operations cost more than compiling.
    model.compile(keras.optimizers.SGD(0.5), losses, run_eagerly=BACKEND == "tensorflow")
    said = model.predict_on_batch(rows)
    model.fit(rows, {task: labels.get(task, labels["click"]) for task in said}, batch_size=ROWS_EACH, verbose=0)
    return [np.asarray(said[task]) for task in sorted(said)] + model.get_weights()
