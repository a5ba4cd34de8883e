"""What layers take from all rows of a batch they take from those of all replicas: moments, and penalties."""

import numpy as np
import pytest
import tensorflow as tf
from harness import run_fresh
from replicas import assert_replicas_agree

import tfmtl
from tfmtl.keras_host import keras
from tfmtl.models import shared_bottom
from tfmtl.schema import Categorical, Schema, Task
from tfmtl.stages import DSelectK, HoME, SharedBottomRepresentation, STARHead, Towers


def trained(make, data, strategy, rate):
    """The losses of an epoch, and the weights after it."""
    keras.utils.set_random_seed(7)
    with strategy.scope():
        model, losses = make()
        model.compile(keras.optimizers.SGD(rate), loss=losses)
    return model.fit(data, verbose=0).history["loss"], model.get_weights()


def batches(rows, labels, size):
    return tf.data.Dataset.from_tensor_slices((rows, labels)).batch(size)


def scenarios():
    """`PartitionedNormalization`, where a scenario has all its rows on one replica, and HoME's `GlobalBatchNormalization`."""
    schema = Schema(
        [Categorical("tab", num_ids=3, dim=2), Categorical("item", num_ids=9, dim=2)], [Task("click", mean=0.5)]
    )
    rows = {"tab": np.array([1, 1, 2, 2, 0, 3, 3, 3] * 2, "int32"), "item": np.arange(16, dtype="int32") % 10}
    labels = {"click": np.random.default_rng(0).integers(0, 2, 16).astype("float32")}

    def make():
        bottom = SharedBottomRepresentation(schema.features, schema.task_names, scenario="tab")
        # Without a kink: a scenario whose rows are alike is normalised to 0, give or take what rounding leaves.
        head = STARHead(schema.tasks, units=(3,), auxiliary_units=(2,), scenario_dim=2, activation="gelu")
        trunk = HoME((3, 3), num_shared_experts=1, num_group_experts=1, num_feature_gates=1)
        return tfmtl.build(schema, bottom, trunk, head), tfmtl.objectives(schema.tasks)["loss"]

    assert_replicas_agree(lambda strategy: trained(make, batches(rows, labels, 8), strategy, 0.2))


def dice():
    """DIN's activation, over the events of all histories."""
    from layers.test_target_attention import LABELS, ROWS, SCHEMA

    def make():
        model = shared_bottom(SCHEMA, units=(4,), tower_units=())
        return model, tfmtl.objectives(SCHEMA.tasks)["loss"]

    data = batches(ROWS, LABELS, 4).repeat(2)
    assert_replicas_agree(lambda strategy: trained(make, data, strategy, 0.2), atol=1e-5)


def penalties():
    """DSelect-k's, as large as the losses; of rows that differ, in a last batch that splits 2 to 1."""
    schema = Schema([Categorical("item", num_ids=12, dim=3)], [Task("click", mean=0.5), Task("buy", mean=0.5)])
    random = np.random.default_rng(0)
    labels = {task: random.integers(0, 2, 11).astype("float32") for task in schema.task_names}
    data = batches({"item": np.arange(11, dtype="int32")}, labels, 4)
    kernels = random.normal(size=(3, 4)).astype("float32")

    def make(entropy=1.0):
        trunk = DSelectK(3, num_experts=3, entropy=entropy)
        bottom = SharedBottomRepresentation(schema.features, schema.task_names)
        model = tfmtl.build(schema, bottom, trunk, Towers(schema.tasks, units=()))
        for gate in trunk.mixers.values():  # beside 0, where digits stand still
            gate.digit_kernel.assign(kernels[: gate.digit_kernel.shape[0]])
        return model, tfmtl.objectives(schema.tasks, normalize=False)["loss"]

    _, penalized = assert_replicas_agree(lambda strategy: trained(make, data, strategy, 0.3))
    _, plain = trained(lambda: make(entropy=0.0), data, tf.distribute.get_strategy(), 0.3)
    assert max(np.abs(a - b).max() for a, b in zip(penalized, plain, strict=True)) > 1e-2


@pytest.mark.keras3
@pytest.mark.parametrize("host", ["0", "1"], ids=["keras3", "tf_keras"])
def test_two_replicas_equal_one_device(host):
    run_fresh(
        """
        import replicas

        replicas.split_cpu()
        from layers import test_under_replicas as cases

        for case in (cases.scenarios, cases.dice, cases.penalties):
            try:
                case()
            except AssertionError as error:
                raise AssertionError(case.__name__) from error
        """,
        env={"TF_USE_LEGACY_KERAS": host},
    )
