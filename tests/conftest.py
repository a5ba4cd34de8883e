"""Quiet TensorFlow, the same seed for every test, and tests of Keras 3 skipped on the other host."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest

from tfmtl.keras_host import LEGACY, keras


def pytest_collection_modifyitems(items):
    if LEGACY:
        skip = pytest.mark.skip(reason="needs Keras 3")
        for item in items:
            if item.get_closest_marker("keras3"):
                item.add_marker(skip)


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(7)
