"""Our layers inside a TensorFlow Recommenders model, which needs tf_keras."""

import pytest
from harness import run_fresh

from tfmtl.keras_host import LEGACY


@pytest.mark.skipif(not LEGACY, reason="runs once, with the tests of tf_keras")
def test_cgc_in_a_tfrs_model_with_one_ranking_task_each():
    printed = run_fresh(
        """
        import numpy as np
        import tensorflow as tf
        import tensorflow_recommenders as tfrs
        import tfmtl

        TASKS = ("click", "buy")

        class Ranker(tfrs.Model):
            def __init__(self):
                super().__init__()
                self.embed = tf.keras.layers.Embedding(20, 8)
                self.mix = tfmtl.CGCLayer(8, num_task_experts=1, num_shared_experts=2, update_shared=False)
                self.towers = {task: tfmtl.layers.TaskTower((4,)) for task in TASKS}
                self.tasks = {
                    task: tfrs.tasks.Ranking(tf.keras.losses.BinaryCrossentropy(), metrics=[tfmtl.metrics.MaskedAUC(name=f"{task}_auc")])
                    for task in TASKS
                }

            def call(self, features):
                x = tf.concat([self.embed(features["user"]), self.embed(features["item"])], axis=-1)
                mixed = self.mix({name: x for name in (*TASKS, "shared")})
                return {task: self.towers[task](mixed[task]) for task in TASKS}

            def compute_loss(self, inputs, training=False):
                features, labels = inputs
                predictions = self(features)
                return sum(self.tasks[task](labels=labels[task], predictions=predictions[task]) for task in TASKS)

        rng = np.random.default_rng(0)
        user, item = rng.integers(0, 10, 512), rng.integers(10, 20, 512)
        labels = {"click": (user % 2).astype("float32"), "buy": (item % 2).astype("float32")}
        data = tf.data.Dataset.from_tensor_slices(({"user": user, "item": item}, labels)).batch(64)
        tf.keras.utils.set_random_seed(0)
        model = Ranker()
        model.compile(tf.keras.optimizers.Adam(0.02))
        history = model.fit(data, epochs=8, verbose=0).history
        assert history["loss"][-1] < 0.5 * history["loss"][0], history["loss"]
        assert history["click_auc"][-1] > 0.95 and history["buy_auc"][-1] > 0.95, history
        print(len(model.trainable_variables))
        """,
        env={"TF_USE_LEGACY_KERAS": "1"},
    )
    # Embedding; three experts' kernels and biases in 3 weights pairs; two gates; two towers of two layers.
    assert int(printed) == 1 + 3 * 2 + 2 + 2 * 4
