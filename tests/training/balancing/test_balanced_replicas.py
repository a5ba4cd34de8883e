"""Two replicas find the weights of one device, however the labels fall on them."""

import pytest
from harness import run_fresh

HOSTS = {"keras3": {"TF_USE_LEGACY_KERAS": "0"}, "tf_keras": {"TF_USE_LEGACY_KERAS": "1"}}

# Batches of 8 rows over two replicas: every label of `click` on the first one, a batch without any label of `sale`, and a
# last batch of 3 rows that splits unevenly.
# Where a layer adds a loss of its own, the mean of a replica's rows, no batch splits unevenly.
SCRIPT = """
import numpy as np
import tensorflow as tf
from training.models import TASKS, batches, rows, small_model
from tfmtl.keras_host import keras
from tfmtl.training import objectives
from tfmtl.training.balancing import CAGrad, DBMTL, FAMO, MetaBalance, RLW, balanced

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
one, two = tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
x, y = rows(27)
y["click"][np.arange(27) % 8 >= 4] = np.nan
y["sale"][8:16] = np.nan

def train(strategy, balancer, adds_loss):
    count = 24 if adds_loss else 27
    data = batches({n: c[:count] for n, c in x.items()}, {n: c[:count] for n, c in y.items()}, 8)
    keras.utils.set_random_seed(7)
    with strategy.scope():
        model = balanced(small_model(adds_loss=adds_loss), balancer)
        model.compile(keras.optimizers.SGD(0.05), **objectives(TASKS))
    logs = model.fit(data, verbose=0, epochs=2, validation_data=data).history
    return logs, model.plain().get_weights(), {n: v.numpy() for n, v in model.balancing.held.items()}

for place, balancer in enumerate(BALANCERS):
    ours, theirs = train(two, balancer, place == 0), train(one, balancer, place == 0)
    assert "sale_weight" in theirs[0] and set(ours[0]) == set(theirs[0])
    for name, value in theirs[0].items():
        np.testing.assert_allclose(ours[0][name], value, rtol=1e-5, atol=1e-5, err_msg=f"{balancer} {name}")
    for name, value in theirs[2].items():
        np.testing.assert_allclose(ours[2][name], value, rtol=2e-5, atol=1e-5, err_msg=f"{balancer} {name}")
    for mine, wanted in zip(ours[1], theirs[1], strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-5, atol=1e-5)
"""


@pytest.mark.keras3
@pytest.mark.parametrize(
    ("host", "balancers"), [("keras3", "[CAGrad(every=2), MetaBalance('sale')]"), ("tf_keras", "[DBMTL(), FAMO()]")]
)
def test_two_replicas_equal_one_device(host, balancers):
    run_fresh(SCRIPT.replace("BALANCERS", balancers), env=HOSTS[host])
