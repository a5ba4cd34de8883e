"""Interactions of other libraries below any trunk: keras-rs's on Keras 3 and those of TFRS on tf_keras."""

import numpy as np
import pytest
import tensorflow as tf
from harness import assert_all_trained, gradients, ops, run_fresh

import tfmtl
from tfmtl import models
from tfmtl.keras_host import LEGACY, keras, layers_of
from tfmtl.layers import Crosses, FieldInteractions
from tfmtl.models import shared_bottom, warm_start
from tfmtl.schema import Categorical, Numeric, Schema, Sequence, Task
from tfmtl.stages import DTRNRepresentation, SharedBottomRepresentation, STEMRepresentation

if LEGACY:
    from tensorflow_recommenders.layers.feature_interaction import Cross
    from tensorflow_recommenders.layers.feature_interaction import DotInteraction as Dots
else:
    from keras_rs.layers import DotInteraction as Dots
    from keras_rs.layers import FeatureCross as Cross

ITEM = Categorical("item", num_ids=6, dim=4, table="items", side="item")
SCHEMA = Schema(
    [
        ITEM,
        Categorical("city", num_ids=3, dim=4, side="user"),
        Numeric("age", transform=None, side="user"),
        Numeric("price", transform=None, dim=4, side="item"),
        Sequence("seen", [ITEM], length=3, side="user"),
    ],
    [Task("click", mean=0.5), Task("buy", mean=0.5)],
)
EMBEDDED = ("item", "city", "price", "seen_item")
ROWS = {
    "item": np.array([1, 6, 0, 3], "int32"),
    "city": np.array([1, 2, 3, 0], "int32"),
    "age": np.array([1, np.nan, 3, 4], "float32"),
    "price": np.array([0.5, -1, np.nan, 2], "float32"),
    "seen_item": np.array([[1, 2, 3], [4, 0, 0], [0, 0, 0], [5, 6, 0]], "int32"),
    "seen_mask": np.array([[1, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0]], "int32"),
}


def layers():
    return [Dots(), Crosses([Cross(projection_dim=3), Cross()])]


def test_fields_and_what_the_layers_make_of_them_stand_side_by_side():
    bottom = SharedBottomRepresentation(SCHEMA.features, ["click"], interactions=layers())
    x = np.asarray(bottom(ROWS)["click"])
    fields = {name: np.asarray(field) for name, field in bottom.embed(ROWS).items()}
    assert bottom.embedded == EMBEDDED
    embedded = [fields[name] for name in EMBEDDED]
    dots = np.einsum("bie,bje->bij", np.stack(embedded, 1), np.stack(embedded, 1))[:, *np.tril_indices(4, -1)]
    first = joined = np.concatenate(embedded, axis=1)
    for layer in bottom.interactions.layers[1].layers:
        joined = np.asarray(layer(first, joined))
    np.testing.assert_allclose(x, np.concatenate([*fields.values(), dots, joined], axis=1), rtol=1e-5, atol=1e-6)
    assert x.shape[1] == bottom.compute_output_shape({k: v.shape for k, v in ROWS.items()})["click"][1]
    np.testing.assert_allclose(np.asarray(bottom(ROWS, training=True)["click"]), x, rtol=1e-5, atol=1e-6)


def test_streams_of_their_own_have_layers_of_their_own():
    """STEM's streams over their own tables, DTRN's over fields and interests as each weighs them."""
    stem = STEMRepresentation(SCHEMA.features, ["click", "buy"], interactions=layers())
    dtrn = DTRNRepresentation(SCHEMA.features, ["click", "buy"], target="item", interactions=layers())
    shapes = {name: column.shape for name, column in ROWS.items()}
    for bottom in (stem, dtrn):
        found = {stream: np.asarray(x) for stream, x in bottom(ROWS).items()}
        read = stem.embed(ROWS) if bottom is stem else None
        for stream, x in found.items():
            if read is not None:
                plain = np.concatenate([np.asarray(field) for field in read[stream].values()], axis=1)
                fields = [read[stream][name] for name in EMBEDDED]
            else:
                plain = x[:, : 5 * 4]  # four fields and one history
                fields = np.split(plain, 5, axis=1)
            if stream in bottom.interactions:
                made = np.asarray(bottom.interactions[stream](list(fields)))
            else:  # DTRN's shared stream has none of its own, since not every trunk reads it
                made = np.mean([found[task][:, plain.shape[1] :] for task in ("click", "buy")], axis=0)
            np.testing.assert_allclose(x, np.concatenate([plain, made], axis=1), rtol=1e-5, atol=1e-7)
            assert x.shape == bottom.compute_output_shape(shapes)[stream]
        parts = list(bottom.interactions.values())
        weights = [part.trainable_variables for part in parts]
        reached = gradients(lambda: ops.sum(bottom(ROWS)["click"] ** 2), [w for part in weights for w in part])  # noqa: B023
        touched = [g is not None and np.abs(g).max() > 0 for g in reached]
        assert touched == [True] * len(weights[0]) + [False] * (len(touched) - len(weights[0]))
    some = stem.for_streams(["buy"])(ROWS)
    np.testing.assert_allclose(np.asarray(some["buy"]), np.asarray(stem(ROWS)["buy"]), rtol=1e-6)


def made_by(preset, given):
    options = {"dtrn": {"target": "item"}, "stem_net": {"num_shared_experts": 1, "gate_units": ()}}.get(preset, {})
    return getattr(models, preset)(SCHEMA, units=(4,), tower_units=(), interactions=given, **options)


def test_models_share_no_layer_train_every_weight_and_are_carried_over(tmp_path):
    for preset in ("ple", "stem_net", "dtrn"):
        given = layers()
        model, other = made_by(preset, given), made_by(preset, given)
        parts = [layers_of(each.get_layer("bottom")) for each in (model, other)]
        assert not {id(layer) for layer in parts[0]} & {id(layer) for layer in (*parts[1], *given)}
        if preset == "dtrn":  # its hypernetwork starts at 0
            model.set_weights([w + 0.05 for w in model.get_weights()])
        assert_all_trained(model, lambda: sum(ops.sum((y - 0.3) ** 2) for y in model(ROWS, training=True).values()))  # noqa: B023
        report = warm_start(other, SCHEMA, model, SCHEMA)
        assert not report.fresh and not report.partly and not report.left
        for ours, theirs in zip(other.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        model.save(tmp_path / f"{preset}.keras")
        np.savez(tmp_path / f"{preset}.npz", **{task: np.asarray(y) for task, y in model(ROWS).items()})
    run_fresh(
        """
        import sys
        import numpy as np
        from layers.test_field_interactions import ROWS  # as any file, it is loaded once its layers are imported
        from tfmtl.keras_host import keras

        for preset in ("ple", "stem_net", "dtrn"):
            path = sys.argv[1] + "/" + preset
            model, wanted = keras.models.load_model(path + ".keras"), np.load(path + ".npz")
            for task, y in model(ROWS).items():
                np.testing.assert_allclose(np.asarray(y), wanted[task], rtol=1e-6)
        """,
        tmp_path,
    )


def test_an_export_answers_as_the_model_and_ranks_as_full_rows(tmp_path):
    model = shared_bottom(SCHEMA, units=(4,), tower_units=(), interactions=layers())
    raw = {name: column for name, column in ROWS.items() if name != "seen_mask"}
    raw = {name: (c - 1).astype("int64") if c.dtype == "int32" else c for name, c in raw.items()}
    path = tfmtl.export(model, tmp_path, SCHEMA, examples=raw)
    assert "rank" in tf.saved_model.load(str(path)).signatures


def test_a_domain_gate_scales_the_fields_alone():
    plain = {"features": SCHEMA.features, "tasks": ["click"], "interactions": layers()[:1]}
    bottom = SharedBottomRepresentation(domain=["city"], **plain)
    x = np.asarray(bottom(ROWS)["click"])
    fields = bottom.embed(ROWS)
    made = np.asarray(bottom.interactions([fields[name] for name in EMBEDDED]))
    np.testing.assert_allclose(x[:, -made.shape[1] :], made, rtol=1e-6)


def test_what_is_made_has_the_policy_of_the_layer():
    fields = [np.ones((2, 4), "float32")] * 2
    for layer in (FieldInteractions([keras.layers.Multiply()], dtype="mixed_bfloat16"), Crosses([Cross()])):
        assert layer(fields).dtype == layer.compute_dtype


def test_refuses():
    with pytest.raises(ValueError, match=r"`layers` must be layers of \w+, one or more. Received: \['function'\]"):
        FieldInteractions([lambda fields: fields])
    with pytest.raises(ValueError, match=r"one or more. Received: \[\]"):
        Crosses([])
    uneven = [Categorical("city", num_ids=3, dim=4), Categorical("item", num_ids=3, dim=6)]
    bottom = SharedBottomRepresentation(uneven, ["click"], interactions=[keras.layers.Add()])
    with pytest.raises(ValueError, match=r"Add does not take these fields.*D=\[4, 6\]"):
        bottom({"city": ROWS["city"], "item": ROWS["item"]})
    with pytest.raises(ValueError, match=r"must give \(B, N\). Received: Stacked"):
        FieldInteractions([Stacked()])([np.ones((2, 4), "float32")] * 2)
    with pytest.raises(ValueError, match=r"give a subclass with `get_config`. Received: Opaque"):
        FieldInteractions([Opaque(np.add)])


class Opaque(keras.layers.Layer):
    def __init__(self, function):
        super().__init__()
        self.function = function


@keras.saving.register_keras_serializable("tests")
class Stacked(keras.layers.Layer):
    def call(self, fields):
        return ops.stack(fields, axis=1)
