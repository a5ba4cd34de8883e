"""ChainCalibrator: its loss, under one device and two replicas, and predictions that it leaves alone."""

import numpy as np
import pytest
import tensorflow as tf
from harness import assert_reloads, gradients, run_fresh

from tfmtl.keras_host import keras
from tfmtl.layers.chain_calibrator import ChainCalibrator

CHAIN = ("click", "cart", "buy")
PREDICTIONS = {
    "click": np.array([[0.5], [0.2], [0.9]], "float32"),
    "cart": np.array([[0.4], [0.6], [0.9]], "float32"),
    "buy": np.array([[0.6], [0.1], [0.9]], "float32"),
    "share": np.array([[1.0], [1.0], [1.0]], "float32"),
}


@pytest.mark.parametrize(
    ("options", "expected"), [({}, 0.6 * 0.6 / 3), ({"weight": 0.3, "reduction": "sum"}, 0.3 * 0.6)]
)
def test_loss(options, expected):
    calibrator = ChainCalibrator(CHAIN, **options)
    outputs = calibrator(PREDICTIONS)
    assert len(calibrator.losses) == 1
    np.testing.assert_allclose(float(calibrator.losses[0]), expected, rtol=1e-6)
    for task, prediction in PREDICTIONS.items():
        np.testing.assert_array_equal(outputs[task], prediction)


def test_pushes_an_early_step_up_and_a_late_step_down():
    x = {task: tf.Variable(prediction) for task, prediction in PREDICTIONS.items()}
    calibrator = ChainCalibrator(CHAIN)

    def loss():
        calibrator(x)
        return calibrator.losses[-1]

    click, cart, buy = gradients(loss, [x[task] for task in CHAIN])
    np.testing.assert_allclose(click, [[0], [-0.2], [0]], rtol=1e-6)
    np.testing.assert_allclose(cart, [[-0.2], [0.2], [0]], rtol=1e-6)
    np.testing.assert_allclose(buy, [[0.2], [0], [0]], rtol=1e-6)


def test_no_rows_no_loss():
    calibrator = ChainCalibrator(CHAIN)
    calibrator({task: prediction[:0] for task, prediction in PREDICTIONS.items()})
    assert float(calibrator.losses[0]) == 0.0


def test_predictions_stay_float32_under_a_half_policy():
    calibrator = ChainCalibrator(CHAIN, dtype="mixed_float16")
    exact = {task: prediction + np.float32(1e-6) for task, prediction in PREDICTIONS.items()}
    np.testing.assert_array_equal(calibrator(exact)["buy"], exact["buy"])


def test_two_replicas_take_the_step_of_one_device():
    run_fresh(
        """
        import numpy as np
        import tensorflow as tf
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
        )
        from tfmtl.keras_host import keras
        from tfmtl.layers.chain_calibrator import ChainCalibrator
        from tfmtl.losses import MaskedMeanSquaredError

        rng = np.random.default_rng(0)
        x = rng.normal(size=(11, 3)).astype("float32")
        y = {task: np.zeros((11, 1), "float32") for task in ("click", "buy")}

        def kernels(reduction):
            given = keras.Input((3,))
            dense = {task: keras.layers.Dense(1, activation="sigmoid", name=task) for task in y}
            model = keras.Model(given, ChainCalibrator(list(y), weight=5.0, reduction=reduction)({task: layer(given) for task, layer in dense.items()}))
            rng = np.random.default_rng(2)
            model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
            model.compile(keras.optimizers.SGD(1.0), loss={"click": MaskedMeanSquaredError(), "buy": "mse"}, loss_weights={task: 0.0 for task in y})
            model.fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(8), epochs=2, verbose=0)  # 4 + 4 rows, then 2 + 1
            return model.get_weights()

        two_replicas = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        for reduction in ("sum", "mean"):
            alone = kernels(reduction)
            with two_replicas.scope():
                together = kernels(reduction)
            for one, two in zip(alone, together):
                np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-6)
        start = np.random.default_rng(2)
        moved = [np.abs(w - start.normal(size=w.shape)).max() for w in alone]
        assert min(moved) > 1e-3, moved
        """
    )


def test_reloads_in_a_fresh_process(tmp_path):
    x = {task: keras.Input((1,), name=task) for task in PREDICTIONS}
    model = keras.Model(x, ChainCalibrator(CHAIN, weight=0.2, reduction="sum")(x))
    assert_reloads(model, PREDICTIONS, tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chain": ["click"]}, "two different tasks"),
        ({"weight": -1.0}, r"weight=-1\.0"),
        ({"reduction": "max"}, "reduction='max'"),
    ],
)
def test_refuses_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        ChainCalibrator(**{"chain": CHAIN, **options})


def test_names_the_missing_task():
    with pytest.raises(ValueError, match=r"lack tasks \['pay'\] of the chain"):
        ChainCalibrator([*CHAIN, "pay"])(PREDICTIONS)
