"""A model that lives on two replicas is found to be what it would be on one device."""

import pytest
from harness import run_fresh

SCRIPT = """
import numpy as np
import tensorflow as tf
from training.models import SCHEMA, TASKS, batches, rows, small_model
from tfmtl.analysis.doctor.diagnose import diagnosis_of
from tfmtl.analysis.doctor.examiner import Examiner
from tfmtl.training import objectives

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
x, y = rows(44)
y["sale"][16:32] = np.nan
one = small_model()
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    two = small_model()
    two.compile("sgd", **objectives(TASKS))
one.compile("sgd", **objectives(TASKS))
two.set_weights(one.get_weights())
ours, theirs = (Examiner(model, SCHEMA, steps=9)(batches(x, y, 16)) for model in (two, one))
np.testing.assert_array_equal(theirs.gradients.labelled[:, 0] > 0, [True, False, True])
for name in ("gramians", "own"):
    np.testing.assert_allclose(getattr(ours.gradients, name), getattr(theirs.gradients, name), rtol=1e-4, atol=1e-9)
assert ours.weights == theirs.weights and not ours.trained
assert [each.name for each in diagnosis_of(ours)] == [each.name for each in diagnosis_of(theirs)]
"""


@pytest.mark.parametrize("host", ["0", "1"], ids=["keras3", "tf_keras"])
def test_two_replicas(host):
    run_fresh(SCRIPT, env={"TF_USE_LEGACY_KERAS": host})
