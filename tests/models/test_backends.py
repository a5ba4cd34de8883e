"""Layers and models on the other backends of Keras 3, where one is installed."""

import importlib.util

import backend_cases
import pytest
from harness import run_fresh

pytestmark = pytest.mark.keras3


@pytest.fixture(scope="module")
def computed(tmp_path_factory):
    """A folder with models as TensorFlow computes them."""
    folder = tmp_path_factory.mktemp("models")
    backend_cases.compute(folder)
    return folder


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_models_of_tensorflow_load_predict_and_train_alike(backend, computed):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    printed = run_fresh(
        """
        import sys
        from pathlib import Path
        import tfmtl
        from models import backend_cases
        assert tfmtl.keras_host.BACKEND == sys.argv[2]
        print(len(backend_cases.recompute(Path(sys.argv[1]))), "alike")
        """,
        computed,
        backend,
        env={"KERAS_BACKEND": backend, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},  # it compiles faster
    )
    assert f"{len(backend_cases.MODELS)} alike" in printed
