"""Two models that are built alike are one, whatever Keras calls their layers; any other option makes another."""

import numpy as np
import pytest
from analysis.comparing.small_study import SCHEMA, plain
from harness import run_fresh

from tfmtl.analysis.comparing.model_fingerprint import digest, model_fingerprint
from tfmtl.keras_host import keras
from tfmtl.models import ple

SIZES = {"units": (8,), "tower_units": (4,)}
MODELS = {
    "plain": lambda: plain(SCHEMA),
    "wider": lambda: plain(SCHEMA, units=5),
    "relu": lambda: plain(SCHEMA, activation="relu"),
    "preset": lambda: ple(SCHEMA, **SIZES),
    "dropout": lambda: ple(SCHEMA, **SIZES, dropout=0.1),
    "one task": lambda: ple(SCHEMA.with_tasks(["click"]), **SIZES),
    "no config": lambda: _with_layer(NoConfig(3)),
}


class NoConfig(keras.layers.Layer):
    def __init__(self, number, **options):
        super().__init__(**options)
        self.number = number

    def call(self, x):
        return x


def _with_layer(layer):
    x = keras.Input((2,), name="a")
    return keras.Model({"a": x}, {"click": keras.layers.Dense(1, name="click")(layer(x))})


@pytest.fixture(scope="module")
def fingerprints():
    return {name: model_fingerprint(make()) for name, make in MODELS.items()}


@pytest.mark.parametrize("name", MODELS)
def test_built_again_it_is_the_same(name, fingerprints):
    assert model_fingerprint(MODELS[name]()) == fingerprints[name]


def test_another_option_is_another_model(fingerprints):
    assert len(set(fingerprints.values())) == len(MODELS)


def test_another_process_says_the_same(fingerprints):
    script = """
        from analysis.comparing.small_study import SCHEMA, plain
        from tfmtl.analysis.comparing.model_fingerprint import model_fingerprint
        print(model_fingerprint(plain(SCHEMA)))
        """
    assert run_fresh(script).split()[-1] == fingerprints["plain"]


def test_what_json_does_not_know_counts_by_its_type():
    assert digest({"a": 1, "b": object()}) == digest({"b": object(), "a": 1}) != digest({"a": 1, "b": np.array(1)})
