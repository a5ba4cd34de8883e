"""Quiet TensorFlow, the same seed for every test, and tests of Keras 3 skipped on the other host.

TensorFlow is imported when the first test needs it: the process that only hands out tests to others never does.
"""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest

# These go first, so that no process is left alone with one of them at the end.
LONGEST = ("test_compose.py", "test_demo.py", "test_notebooks.py")


def pytest_collection_modifyitems(items):
    from tfmtl.keras_host import LEGACY

    items.sort(key=lambda item: item.path.name not in LONGEST)
    if LEGACY:
        skip = pytest.mark.skip(reason="needs Keras 3")
        for item in items:
            if item.get_closest_marker("keras3"):
                item.add_marker(skip)


def pytest_collection_finish():
    """Spares the garbage collector a tenth of the run: what was imported stays, and tracing makes much that does not."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


@pytest.fixture(autouse=True)
def seeded():
    from tfmtl.keras_host import keras

    keras.utils.set_random_seed(7)
