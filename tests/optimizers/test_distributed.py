"""Two replicas train as one device does: sums, clipping and decay see the global batch.

Also where Keras has renamed the step that we stand in for, unless the norm of all gradients is needed, which is refused.
"""

import numpy as np
import pytest
import tensorflow as tf
from harness import run_fresh
from sparse_cases import MAKERS, click_model, clicks

from tfmtl.keras_host import keras

CASES = [
    *((name, "float32", 1e-5) for name in MAKERS if name != "schedule"),
    ("lazy_adam", "mixed_bfloat16", 2e-2),
    ("split", "mixed_float16", 1e-3),
]
RENAMED = CASES.index(("row_wise_adagrad", "float32", 1e-5))

# A strategy needs a process of its own; the optimizers share it.
SCRIPT = """
import sys
import numpy as np
import tensorflow as tf
devices = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
sys.path.insert(0, sys.argv[1])
from test_distributed import CASES, RENAMED, train
from test_renamed_hooks import renamed
from tfmtl.keras_host import LEGACY
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert strategy.num_replicas_in_sync == 2
weights = [train(strategy, name, policy) for name, policy, _ in CASES]
renamed()
weights.append(train(strategy, *CASES[RENAMED][:2]))
if not LEGACY:
    try:
        train(strategy, "lazy_adam", "float32")
    except RuntimeError as error:
        assert "needs the gradients of all variables at once" in str(error)
    else:
        raise AssertionError("clipped by the norm of nobody knows what")
np.savez(sys.argv[2], **{f"{case}-{i}": w for case, ws in enumerate(weights) for i, w in enumerate(ws)})
"""


def train(strategy, name, policy):
    keras.mixed_precision.set_global_policy(policy)
    try:
        with strategy.scope():
            model = click_model(MAKERS[name]())
    finally:
        keras.mixed_precision.set_global_policy("float32")
    model.fit(clicks(4), epochs=2, verbose=0)
    return model.get_weights()


@pytest.fixture(scope="module")
def two_replicas(tmp_path_factory):
    path = tmp_path_factory.mktemp("replicas") / "weights.npz"
    run_fresh(SCRIPT, __file__.rpartition("/")[0], path)
    return np.load(path)


@pytest.mark.parametrize("case", range(len(CASES)), ids=lambda case: "-".join(CASES[case][:2]))
def test_two_replicas_train_as_one(case, two_replicas):
    name, policy, tolerance = CASES[case]
    for i, alone in enumerate(train(tf.distribute.get_strategy(), name, policy)):
        np.testing.assert_allclose(two_replicas[f"{case}-{i}"], alone, atol=tolerance)


def test_two_replicas_sum_rows_without_a_hook(two_replicas):
    for i in range(5):
        np.testing.assert_allclose(two_replicas[f"{len(CASES)}-{i}"], two_replicas[f"{RENAMED}-{i}"], atol=1e-7)
