"""DTRNRepresentation: shapes, routes, ablations, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from dtrn_cases import LABELS, ROWS, SCHEMA
from harness import assert_all_trained, assert_reloads, gradients, ops

from tfmtl.keras_host import keras
from tfmtl.models import presets
from tfmtl.models.build import encoded_inputs
from tfmtl.schema import Categorical, Numeric, Schema
from tfmtl.stages.bottoms import DTRNRepresentation
from tfmtl.stages.trunks import MMoE
from tfmtl.tables import is_table


def moved(layer, seed=0):
    """The layer's weights, moved off their start: a hypernetwork starts at zero."""
    rng = np.random.default_rng(seed)
    layer.set_weights([w + rng.normal(size=w.shape) / 2 for w in layer.get_weights()])


def test_streams_hold_all_fields_and_an_interest_a_behaviour():
    bottom = DTRNRepresentation(SCHEMA.features, SCHEMA.task_names, target="item")
    streams = bottom(ROWS)
    wanted = dict.fromkeys(("click", "buy", "shared"), (4, (3 + 2) * 4))
    assert {name: tuple(s.shape) for name, s in streams.items()} == wanted
    assert bottom.compute_output_shape({k: v.shape for k, v in ROWS.items()}) == wanted
    moved(bottom)
    streams = {name: np.asarray(s) for name, s in bottom(ROWS).items()}
    assert np.abs(streams["click"] - streams["buy"]).max() > 1e-3
    np.testing.assert_allclose(streams["shared"], (streams["click"] + streams["buy"]) / 2, rtol=1e-5, atol=1e-6)
    empty = streams["click"].reshape(4, 5, 4)
    np.testing.assert_array_equal(empty[2, 3:], 0)  # a row without history


def test_attention_is_what_pooling_gives_to_the_events():
    bottom = DTRNRepresentation(SCHEMA.features, SCHEMA.task_names, target="item")
    bottom(ROWS)
    moved(bottom)
    found = bottom.attention(ROWS)
    view = {task: np.asarray(of["view"]) for task, of in found.items()}
    np.testing.assert_allclose(view["click"].sum(-1), [1, 1, 0, 1], atol=1e-6)
    assert (view["buy"][~ROWS["view_mask"]] == 0).all() and tuple(found["buy"]["bought"].shape) == (4, 2)
    assert np.abs(view["click"] - view["buy"]).max() > 1e-3
    pooled = DTRNRepresentation(SCHEMA.features, SCHEMA.task_names)
    pooled(ROWS)
    np.testing.assert_allclose(pooled.attention(ROWS)["click"]["bought"][0], [0.5, 0.5])
    bare = DTRNRepresentation(SCHEMA.features[:2], SCHEMA.task_names)
    bare(ROWS)
    assert bare.attention(ROWS) == {"click": {}, "buy": {}}


def test_weights_count_in_what_is_pooled():
    """An event of weight 0 has no share in an interest, though the transformer reads it; other histories are as ever."""
    features = [replace(f, weights="seconds") if f.name == "view" else f for f in SCHEMA.features]
    bottom = DTRNRepresentation(features, SCHEMA.task_names, target="item")
    seconds = np.where(ROWS["view_mask"], [[30, 0, 90]], 0).astype("float32")
    bottom({**ROWS, "seconds": seconds})
    moved(bottom)
    plain = DTRNRepresentation(SCHEMA.features, SCHEMA.task_names, target="item")
    plain(ROWS)
    plain.set_weights(bottom.get_weights())
    for task, found in bottom.attention({**ROWS, "seconds": seconds}).items():
        shares = plain.attention(ROWS)[task]
        weighed = np.asarray(shares["view"]) * seconds
        whole = weighed.sum(-1, keepdims=True)
        wanted = np.divide(weighed, whole, out=np.zeros_like(weighed), where=whole > 0)
        np.testing.assert_allclose(found["view"], wanted, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found["bought"], shares["bought"], rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"lacks columns \['seconds'\]"):
        bottom(ROWS)
    with pytest.raises(ValueError, match=r"`weights` change nothing where pooling='last'.*weights of \['view'\]"):
        DTRNRepresentation(features, SCHEMA.task_names, pooling="last")


def test_importances_learn_from_their_own_task_and_tables_from_all():
    bottom = DTRNRepresentation(SCHEMA.features, SCHEMA.task_names, target=("item", "city"))
    bottom(ROWS)
    moved(bottom)
    own, other = ([w for w in bottom.refiner.trainable_variables if task in w.name] for task in ("click", "buy"))
    if not own:  # a host that names weights by layer only
        half = len(bottom.refiner.trainable_variables) // 2
        own, other = bottom.refiner.trainable_variables[:half], bottom.refiner.trainable_variables[half:]
    tables = bottom.embed.tables.trainable_variables
    found = gradients(lambda: ops.sum(bottom(ROWS)["click"] ** 2), [*own, *other, *tables])
    assert all(np.abs(g).max() > 0 for g in found[: len(own)])
    assert all(g is None or not np.abs(g).max() > 0 for g in found[len(own) : len(own) + len(other)])
    assert all(np.abs(g).max() > 0 for g in found[len(own) + len(other) :])


@pytest.mark.parametrize(
    "options",
    [
        {"target": "item"},
        {"target": "item", "refine": False, "shared_input": "fixed"},
        {"target": ("item", "city"), "dim": 6, "condition_on": "none", "squeeze": "mean"},
        {"reduction": 1},
    ],
    ids=str,
)
def test_reloads_and_every_variable_is_trained(options, tmp_path):
    inputs = encoded_inputs(SCHEMA.features)
    model = keras.Model(inputs, DTRNRepresentation(SCHEMA.features, SCHEMA.task_names, **options)(inputs))
    moved(model)
    assert_all_trained(model, lambda: sum(ops.sum(ops.tanh(y + 0.1)) for y in model(ROWS).values()))
    assert_reloads(model, ROWS, tmp_path)


def test_a_feature_may_be_called_target(tmp_path):
    """Its projection is not that of what the histories are searched for."""
    features = [Categorical("target", num_ids=5, dim=6), *SCHEMA.features]
    rows = {**ROWS, "target": ROWS["city"]}
    inputs = encoded_inputs(features)
    for target, searched in (("item", False), (("item", "city"), True)):
        bottom = DTRNRepresentation(features, SCHEMA.task_names, target=target, dim=4)
        model = keras.Model(inputs, bottom(inputs))
        moved(model)
        assert tuple(bottom.projections["target"].kernel.shape) == (6, 4)
        assert (bottom.target_projection is not None) is searched
        assert_all_trained(model, lambda: sum(ops.sum(ops.tanh(y + 0.1)) for y in model(rows).values()))  # noqa: B023
    assert_reloads(model, rows, tmp_path)


def test_a_target_that_pooling_does_not_read_has_no_weights():
    bottom = DTRNRepresentation(
        SCHEMA.features,
        SCHEMA.task_names,
        target=("item", "city"),
        pooling="mean",
        reduction=1,
    )
    bottom(ROWS)
    moved(bottom)
    assert bottom.target_projection is None
    assert_all_trained(bottom, lambda: sum(ops.sum(ops.tanh(y + 0.1)) for y in bottom(ROWS).values()))


@pytest.mark.parametrize("condition_on", ["task+behavior", "none"])
def test_only_tables_of_ids_are_tables(condition_on):
    """Positions, conditions and norms are read whole at every step: they are a dense optimizer's."""
    bottom = DTRNRepresentation(SCHEMA.features, SCHEMA.task_names, condition_on=condition_on)
    bottom(ROWS)
    tables = {id(table) for table in bottom.embed.tables.trainable_variables}
    assert {id(v) for v in bottom.trainable_variables if is_table(v)} == tables


def test_works_without_histories():
    schema = Schema(SCHEMA.features[:3], SCHEMA.tasks)
    rows = {name: ROWS[name] for name in ("item", "city", "age")}
    assert presets.dtrn(schema)(rows)["buy"].shape == (4, 1)


@pytest.mark.parametrize("trunk", [None, MMoE(8, num_experts=2)], ids=["plain", "mmoe"])
def test_preset_fits(trunk):
    model = presets.dtrn(SCHEMA, target="item", trunk=trunk, units=(8,), tower_units=(4,))
    # MMoE's experts read the shared stream only. The plain model leaves that unread: it is a mean of the others.
    assert ("join" in [layer.name for layer in model.layers]) is (trunk is not None)
    model.compile("sgd", loss=dict.fromkeys(SCHEMA.task_names, "binary_crossentropy"))
    assert np.isfinite(model.fit(ROWS, LABELS, epochs=2, verbose=0).history["loss"]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "view"}, r"\['view'\]"),
        ({"target": "brand"}, r"\['brand'\]"),
        ({"shared_input": "sum"}, "shared_input='sum'"),
        ({"dim": 0}, "dim=0"),
        ({"target": "item", "pooling": "max"}, "pooling='max'"),
        ({"pooling": "target"}, "`target` must name a feature where.*Received: target=None"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        DTRNRepresentation(SCHEMA.features, SCHEMA.task_names, **options)


@pytest.mark.parametrize("column", ["age", "view_mask"])
def test_refuses_rows_that_lack_a_column(column):
    bottom = DTRNRepresentation(SCHEMA.features, SCHEMA.task_names)
    with pytest.raises(ValueError, match=rf"lacks columns \['{column}'\]"):
        bottom({name: rows for name, rows in ROWS.items() if name != column})


def test_the_width_of_a_field():
    model = presets.dtrn(SCHEMA, dim=np.int64(4), units=(3,))
    assert type(model.get_layer("bottom").dim) is int
    numbers = [Numeric("age", transform=None)]
    with pytest.raises(ValueError, match=r"`dim` must be .* where no feature is `Categorical`. Received: dim=None"):
        DTRNRepresentation(numbers, SCHEMA.task_names)
    assert DTRNRepresentation(numbers, SCHEMA.task_names, dim=3).dim == 3
