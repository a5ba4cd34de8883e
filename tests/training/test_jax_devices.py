"""Keras 3 on JAX: two devices train as one does, on `read`'s batches, and TensorFlow takes the model over."""

import re

import pytest
from harness import ROOT, run_fresh

pytestmark = pytest.mark.keras3

TRAIN = """
import sys
import numpy as np
import jax
import keras
import tfmtl
from tfmtl import Categorical, Numeric, Schema, Task
from tfmtl.data import read
from tfmtl.training import Validation, evaluate, objectives, strategy

folder = sys.argv[1]
assert keras.config.backend() == "jax" and len(jax.devices()) == 2
random = np.random.default_rng(0)
rows = {
    "user": random.integers(1, 21, 96),
    "a": random.normal(size=96).astype("float32"),
    "click": (random.random(96) < 0.5).astype("float32"),
    "sale": np.where(np.arange(96) % 8 < 4, np.nan, (random.random(96) < 0.3) * 1.0),  # on one device alone
}
features = [Categorical("user", num_ids=21, dim=2, dtype="int64"), Numeric("a", transform=None, flag_missing=False)]
schema = Schema(features, [Task("click", weight=0.5), Task("sale")])

def fitted(devices):
    with strategy("auto").scope() if devices is None else keras.distribution.DataParallel(devices=devices).scope():
        keras.utils.set_random_seed(7)
        model = tfmtl.models.shared_bottom(schema, units=(4,), tower_units=(3,))
        model.compile(keras.optimizers.Adam(0.02), **objectives(schema.tasks, metrics={"click": [], "sale": ["auc"]}))
        history = model.fit(train, epochs=2, verbose=0, callbacks=[Validation(train, schema)]).history
        figures = model.evaluate(train, verbose=0, return_dict=True)
        return model, history, figures, dict(evaluate(model, train, schema, verbose=0))

train = read(rows, schema, batch_size=8, encode=True)
one, two = fitted(keras.distribution.list_devices("cpu")[:1]), fitted(keras.distribution.list_devices("cpu"))
for found, wanted in zip(two[1:], one[1:], strict=True):
    assert found.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5, atol=1e-6, err_msg=name)
for found, wanted in zip(two[0].get_weights(), one[0].get_weights(), strict=True):
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)

# Tables and what Adam remembers of them in halves, as docs/scale.md says.
exec(RECIPE, names := {"keras": keras})
with names["distribution"].scope():
    keras.utils.set_random_seed(7)
    parts = tfmtl.models.shared_bottom(schema, units=(4,), tower_units=(3,))
    parts.compile(keras.optimizers.Adam(0.02), **objectives(schema.tasks, metrics={"click": [], "sale": []}))
    parts.fit(train, epochs=2, verbose=0)
halves = [v for v in [*parts.variables, *parts.optimizer.variables] if v.value.addressable_shards[0].data.size < v.value.size]
assert [tuple(v.shape) for v in halves] == [(22, 2)] * 3
assert all(v.value.addressable_shards[0].data.shape == (22, 1) for v in halves)
for found, wanted in zip(parts.get_weights(), one[0].get_weights(), strict=True):
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
parts.save(f"{folder}/parts.keras")
for found, wanted in zip(keras.models.load_model(f"{folder}/parts.keras").get_weights(), one[0].get_weights(), strict=True):
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)

two[0].save(f"{folder}/model.keras")
x = {name: np.asarray(values) for name, values in next(iter(train))[0].items()}
np.savez(f"{folder}/rows.npz", **x)
np.savez(f"{folder}/said.npz", **{name: np.asarray(said) for name, said in two[0](x).items()})
"""

TAKE_OVER = """
import sys
import numpy as np
import tfmtl
from tfmtl import Categorical, Numeric, Schema, Task
from tfmtl.keras_host import keras

folder = sys.argv[1]
model = keras.models.load_model(f"{folder}/model.keras")
wanted = np.load(f"{folder}/said.npz")
for name, said in model(dict(np.load(f"{folder}/rows.npz"))).items():
    np.testing.assert_allclose(np.asarray(said), wanted[name], rtol=1e-5, atol=1e-6)
features = [Categorical("user", num_ids=21, dim=2, dtype="int64"), Numeric("a", transform=None, flag_missing=False)]
tfmtl.export(model, f"{folder}/served", Schema(features, [Task("click"), Task("sale")]))
"""


def test_two_devices_equal_one_and_tensorflow_takes_over(tmp_path):
    devices = {
        "KERAS_BACKEND": "jax",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # it compiles faster
    }
    page = (ROOT / "docs" / "scale.md").read_text()
    recipe = "\n".join(
        re.findall(r"^    (.*)$", page.partition("Tables in parts")[2].partition("## ")[0], re.MULTILINE)
    )
    assert "ModelParallel" in recipe
    run_fresh(f"RECIPE = {recipe!r}\n{TRAIN}", tmp_path, env=devices)
    run_fresh(TAKE_OVER, tmp_path)
    assert (tmp_path / "served" / "1" / "saved_model.pb").exists()
