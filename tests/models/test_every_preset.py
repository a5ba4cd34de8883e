"""What holds for the weights of every preset: a checkpoint has all of them, and each has a meaning of its own."""

import numpy as np
import pytest
import tensorflow as tf
from every_preset import PRESETS, small

from tfmtl.keras_host import LEGACY
from tfmtl.models import warm_start

# Of each kind of stage one, the rest in a long run.
QUICK = {"aitm", "dtrn", "home", "mfh", "ml_mmoe", "pepnet", "sluice", "snr", "star", "stem_net"}
EACH = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in PRESETS]


def drawn(model, seed):
    return [
        np.random.default_rng((seed, place)).normal(size=w.shape).astype("float32")
        for place, w in enumerate(model.weights)
    ]


def assert_same(found, wanted):
    for mine, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("preset", EACH)
def test_a_checkpoint_and_a_warm_start_carry_every_weight(preset, tmp_path):
    (model, schema), (other, _) = small(preset), small(preset)
    wanted = drawn(model, 0)
    model.set_weights(wanted)
    path = tf.train.Checkpoint(model=model).save(tmp_path / "checkpoint")
    model.set_weights(drawn(model, 1))
    tf.train.Checkpoint(model=model).restore(path).assert_existing_objects_matched().assert_consumed()
    assert_same(model.get_weights(), wanted)
    report = warm_start(other, schema, model, schema)
    assert not report.fresh and not report.partly and not report.left
    assert_same(other.get_weights(), wanted)
    if not LEGACY:  # the same path in every process, however many models it has made: state trees go by it
        paths = [weight.path for weight in model.weights]
        assert paths == [weight.path for weight in other.weights] and len(set(paths)) == len(paths)
