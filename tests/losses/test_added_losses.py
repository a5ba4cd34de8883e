"""What layers add beside a masked loss, under replicas: as on one device, in a model of ours and in a plain one."""

import json

from harness import run_fresh

SCRIPT = """
    import json
    import numpy as np
    import tensorflow as tf
    import tfmtl
    from tfmtl import cross_replica
    from tfmtl.keras_host import LEGACY, keras, ops

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")

    class Watched(keras.layers.Layer):  # a mean over rows, which Keras makes of no regularizer before 3.14
        def call(self, x):
            self.add_loss(ops.mean(ops.square(x)))
            return x

    def trained(strategy, named, added):
        keras.utils.set_random_seed(0)
        with strategy.scope():
            inputs = keras.Input((3,))
            of_weights = keras.regularizers.L2(1.0) if added == "of weights" else None
            hidden = keras.layers.Dense(4, kernel_regularizer=of_weights)(inputs)
            if added == "of activities":
                hidden = Watched(name="watched")(hidden)
            outputs = {"click": keras.layers.Dense(1)(hidden)}
            model = (tfmtl.models.NamedModel if named else keras.Model)(inputs, outputs)
            model.compile(keras.optimizers.SGD(0.1), loss={"click": tfmtl.losses.MaskedMeanSquaredError()})
        model.fit(tf.data.Dataset.from_tensor_slices((x, {"click": x[:, 0]})).batch(8), epochs=3, verbose=0)
        return model.get_weights()

    two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    def apart(named, added):
        one = trained(tf.distribute.get_strategy(), named, added)
        return max(float(np.abs(a - b).max()) for a, b in zip(one, trained(two, named, added)))

    found = [apart(True, "of activities"), apart(False, "of weights"), apart(False, "of activities")]
    cross_replica._kept_in_a_list = lambda: False  # as if Keras had renamed what we go by
    try:
        found.append(apart(False, "of activities"))
    except RuntimeError as error:
        found.append(str(error))
    print(json.dumps([LEGACY, *found]))
    """


def test_added_losses_under_replicas():
    legacy, named, of_weights, of_activities, renamed = json.loads(run_fresh(SCRIPT).splitlines()[-1])
    assert max(named, of_weights, of_activities) < 1e-6
    if legacy:  # which needs no help
        assert renamed < 1e-6
    else:
        assert "What layer 'watched' adds to the loss cannot be kept apart" in renamed


def test_masked_metrics_in_mixed_precision_under_replicas():
    script = """
        import numpy as np
        import tensorflow as tf
        import tfmtl
        from tfmtl.keras_host import keras

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
        schema = tfmtl.Schema([tfmtl.Numeric("x", transform=None)], [tfmtl.Task("click", mean=0.5)])
        with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
            model = tfmtl.models.single_task(schema, units=(4,), tower_units=())
            model.compile("sgd", **tfmtl.objectives(schema.tasks))
        rows = ({"x": np.arange(8, dtype="float32")}, {"click": np.array([0, 1] * 4, "float32")})
        history = model.fit(tf.data.Dataset.from_tensor_slices(rows).batch(4), verbose=0).history
        assert all(np.isfinite(values).all() for values in history.values()), history
        print(sorted(history))
        """
    assert "click_auc" in run_fresh(script)
