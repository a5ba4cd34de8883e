"""`rank` of every preset over a schema with histories: the answers of full rows, and the user's columns looked up once."""

import numpy as np
import pytest
import tensorflow as tf

from tfmtl.data.preprocessing import Preprocessor
from tfmtl.exporting.rank_signature import rank_signature
from tfmtl.exporting.traced_model import trace_model
from tfmtl.keras_host import inputs_by_name
from tfmtl.models import presets
from tfmtl.schema import Categorical, Numeric, Schema, Sequence, Task, TaskGrid

ITEM = Categorical("item", num_ids=20, dim=4, table="items", side="item")
EVENTS = (Categorical("item", num_ids=20, dim=4, table="items"), Categorical("shop", num_ids=5, dim=4))
FEATURES = [
    Categorical("city", num_ids=9, dim=4, side="user"),
    ITEM,
    Numeric("age", transform=None, side="user"),
    Numeric("price", transform=None, side="item"),
    Categorical("device", num_ids=3, dim=4),
    Sequence("seen", EVENTS, length=4, side="user", pooling="max"),
    Sequence("bought", EVENTS, length=4, side="user"),
]
USER = {column for feature in FEATURES if feature.side == "user" for column in feature.columns}
SCHEMA = Schema(FEATURES, [Task("click"), Task("buy")])
GRID = TaskGrid([Task("finish"), Task("skip")], {"old": 0, "new": 1}, "device")
SMALL = {"units": (8, 6), "tower_units": (5,)}

MODELS = dict.fromkeys(set(presets.__all__) - {"PLE_DEPTHS"}, lambda preset: preset(SCHEMA, **SMALL)) | {
    "asymmetric_sharing": lambda preset: preset(SCHEMA, {"buy": ["click"]}, **SMALL),
    "dtrn": lambda preset: preset(SCHEMA, target="item", **SMALL),
    "mfh": lambda preset: preset(Schema(FEATURES, GRID.tasks), GRID, root_units=(8,), facet_units=(7,), leaf_units=6),
    "sluice": lambda preset: preset(SCHEMA, units=(8, 8), tower_units=(5,)),
    "pepnet": lambda preset: preset(SCHEMA, ["device"], ["city", "item"], tower_units=(5,)),
    "star": lambda preset: preset(SCHEMA, "device", tower_units=(5,)),
}
CANDIDATES = 11


def raw_rows():
    """One user, beside whom every candidate stands."""
    random = np.random.default_rng(0)
    user = {"city": random.integers(0, 9, 1), "age": np.array([np.nan])}
    user |= {
        f"{name}_{field}": random.integers(0, 5, (1, 6)) for name in ("seen", "bought") for field in ("item", "shop")
    }
    candidates = {"item": random.integers(-1, 20, CANDIDATES), "price": random.normal(size=CANDIDATES)}
    return user, candidates | {"device": random.integers(0, 3, CANDIDATES)}


@pytest.mark.parametrize("name", sorted(MODELS))
def test_equals_full_rows(name):
    model = MODELS[name](getattr(presets, name))
    random = np.random.default_rng(1)
    for weight in model.weights:  # what starts at zero would hide what it multiplies
        weight.assign(weight + 0.1 * random.normal(size=weight.shape))
    preprocessor = Preprocessor(FEATURES)
    traced = trace_model(model, inputs_by_name(model), preprocessor, tuple(model.output))
    rank = rank_signature(traced, SCHEMA).concrete

    user, candidates = raw_rows()
    types = {column: spec.dtype for column, spec in traced.raw_signature.items()}
    answers = rank(**{column: tf.constant(values, types[column]) for column, values in (user | candidates).items()})
    repeated = {column: np.repeat(values, CANDIDATES, axis=0) for column, values in user.items()}
    full = {column: tf.constant(values, types[column]) for column, values in (repeated | candidates).items()}
    expected = model(preprocessor(full), training=False)
    assert set(answers) == set(expected)
    for task, answer in answers.items():
        np.testing.assert_allclose(answer, expected[task], rtol=0, atol=1e-6)

    lookups = [op.outputs[0].shape for op in rank.graph.get_operations() if op.type == "ResourceGather"]
    for_user = {shape[1] for shape in lookups if shape[0] == 1}
    for_candidates = {shape[1] for shape in lookups if shape[0] is None}
    assert for_user == {1 + 2 * 2 * 4} and for_candidates == {2}  # city and 16 events; item and device


def test_every_preset_is_among_them():
    assert set(raw_rows()[0]) == USER
    assert sorted(MODELS) == sorted(name for name in presets.__all__ if callable(getattr(presets, name)))
