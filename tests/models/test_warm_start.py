"""A model of a grown vocabulary goes on from the weights of the old one."""

from dataclasses import replace

import numpy as np
import pytest

from tfmtl.data import Preprocessor, extend
from tfmtl.models import presets
from tfmtl.models.warm_start import warm_start
from tfmtl.schema import Categorical, Numeric, Schema, Sequence, Task

ITEM = Categorical("item", vocabulary=(7, 8, 9), table="item", dim=4)
OLD = Schema(
    [
        Categorical("city", vocabulary=("Rome", "Oslo"), dim=4),
        Categorical("shop", num_ids=3, dim=4),
        Categorical("query", hash_buckets=5, dim=6),
        Numeric("age", transform="buckets", boundaries=(20.0, 40.0), dim=4),
        Numeric("price", mean=(1.0,), std=(2.0,)),
        ITEM,
        Sequence("seen", (ITEM, Categorical("kind", vocabulary=("a", "b"), dim=6)), length=3),
    ],
    [Task("click"), Task("buy")],
)
ROWS = {
    "city": np.array(["Rome", "Oslo", "Lima", "", "Kyiv"]),
    "shop": np.array([0, 2, 5, -1, 1]),
    "query": np.array(["x", "y", "z", "", "x"]),
    "age": np.array([10.0, 30.0, 50.0, np.nan, 20.0], "float32"),
    "price": np.array([0.0, 1.0, 2.0, np.nan, 3.0], "float32"),
    "item": np.array([7, 9, 11, -1, 12]),
    "seen_item": np.array([[7, 8, 11], [9, -1, -1], [12, 11, 7], [-1, -1, -1], [8, 8, 8]]),
    "seen_kind": np.array([["a", "b", "c"], ["b", "", ""], ["c", "c", "a"], ["", "", ""], ["a", "a", "a"]]),
}
MAKERS = {
    "ple": lambda schema: presets.ple(schema, units=(6, 5), tower_units=(4,)),
    "stem_net": lambda schema: presets.stem_net(schema, units=(6,), tower_units=(4,)),
    "dtrn": lambda schema: presets.dtrn(schema, dim=4),
}


def said(model, schema):
    return {task: np.asarray(y) for task, y in model(Preprocessor(schema.features)(ROWS)).items()}


def shaken(model):
    """`model` with weights that differ everywhere: fresh biases and padding rows would hide a mistake."""
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(0, 0.3, w.shape) for w in model.get_weights()])
    return model


@pytest.mark.parametrize("preset", MAKERS)
def test_it_says_the_same_of_every_row_until_it_is_trained(preset):
    grown = extend(OLD, [ROWS], ["city", "item", "seen_kind"])
    assert grown.feature("city").vocabulary == ("Rome", "Oslo", "Kyiv", "Lima")
    assert grown.feature("seen").fields[0].vocabulary == (7, 8, 9, 11, 12)
    features = [replace(f, num_ids=6) if f.name == "shop" else f for f in grown.features]
    grown = Schema(features, grown.tasks)
    old, model = shaken(MAKERS[preset](OLD)), MAKERS[preset](grown)
    warm_start(model, grown, old, OLD)
    before, after = said(old, OLD), said(model, grown)
    for task in before:
        np.testing.assert_allclose(after[task], before[task], rtol=1e-5, atol=1e-6)


def test_ids_keep_their_rows_wherever_they_stand():
    turned = Schema([replace(OLD.features[0], vocabulary=("Lima", "Oslo")), *OLD.features[1:]], OLD.tasks)
    old, model = shaken(MAKERS["ple"](OLD)), MAKERS["ple"](turned)
    warm_start(model, turned, old, OLD)
    before, after = said(old, OLD)["click"], said(model, turned)["click"]
    assert abs(before[0] - after[0]) > 1e-4  # Rome is forgotten
    np.testing.assert_allclose(after[1:], before[1:], rtol=1e-5, atol=1e-6)


def test_a_frozen_layer_keeps_its_weights_in_place():
    old, model = (presets.ple(OLD, units=(6,), tower_units=(4,), tower_batch_norm=True) for _ in range(2))
    shaken(old).get_layer("head").trainable = False
    warm_start(model, OLD, old, OLD)
    np.testing.assert_allclose(said(model, OLD)["buy"], said(old, OLD)["buy"], rtol=1e-5, atol=1e-6)


def changed(**features):
    return Schema([features.get(f.name, f) for f in OLD.features], OLD.tasks)


SEEN = OLD.features[-1]
OTHERS = {
    "statistics": changed(price=Numeric("price", mean=(0.0,), std=(2.0,))),
    "bins": changed(age=Numeric("age", transform="buckets", boundaries=(20.0, 50.0), dim=4)),
    "pooling": changed(seen=replace(SEEN, pooling="sum")),
    "kind of ids": changed(city=Categorical("city", num_ids=2, dim=4)),
    "kind of ids of a renamed table": changed(city=Categorical("city", num_ids=2, dim=4, table="cities")),
    "type of ids": changed(city=Categorical("city", vocabulary=(1, 2), dim=4)),
    "buckets": changed(query=Categorical("query", hash_buckets=6, dim=6)),
    "kind of feature": changed(city=Numeric("city", mean=(0.0,), std=(2.0,))),
    "kind of task": Schema(OLD.features, [Task("click"), Task("buy", "regression")]),
    "more ids than the model has": extend(OLD, [ROWS], ["city"]),
}


@pytest.mark.parametrize("other", OTHERS)
def test_refuses_another_schema_and_changes_nothing(other):
    model, source = MAKERS["ple"](OLD), MAKERS["ple"](OLD)
    weights = model.get_weights()
    for schemas in ((OTHERS[other], OLD), (OLD, OTHERS[other])):
        with pytest.raises(ValueError, match=r"mean the same in both|of the same kind|schema is not that of"):
            warm_start(model, schemas[0], source, schemas[1])
    assert all(np.array_equal(*pair) for pair in zip(weights, model.get_weights(), strict=True))
