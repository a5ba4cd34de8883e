"""Layers and models on the other backends of Keras 3, where one is installed."""

import importlib.util

import pytest
from harness import run_fresh

pytestmark = pytest.mark.keras3


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_ple_and_stem_fit_and_reload(backend, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    run_fresh(
        """
        import sys
        import numpy as np
        import tfmtl
        from tfmtl import Categorical, Numeric, Schema, Task
        from tfmtl.keras_host import keras
        from tfmtl.losses import MaskedBinaryCrossentropy
        from tfmtl.models import presets

        schema = Schema([Categorical("city", num_ids=5, dim=4), Numeric("age", transform=None)], [Task("a"), Task("b")])
        rng = np.random.default_rng(0)
        rows = {"city": rng.integers(0, 6, 64).astype("int32"), "age": rng.normal(size=64).astype("float32")}
        labels = {"a": (rows["city"] % 2).astype("float32"), "b": np.where(rows["age"] > 0, 1.0, np.nan).astype("float32")}
        for model in (presets.ple(schema, units=(8, 4)), presets.stem_net(schema, units=(8,), gate_units=(), tower_units=())):
            model.compile("adam", loss={task: MaskedBinaryCrossentropy() for task in schema.task_names})
            history = model.fit(rows, labels, epochs=3, verbose=0).history
            assert np.isfinite(history["loss"]).all() and history["loss"][-1] < history["loss"][0]
            model.save(sys.argv[1])
            again = keras.models.load_model(sys.argv[1]).predict(rows, verbose=0)
            for task, y in model.predict(rows, verbose=0).items():
                np.testing.assert_allclose(again[task], y, rtol=1e-5)
        """,
        tmp_path / "model.keras",
        env={"KERAS_BACKEND": backend},
    )
