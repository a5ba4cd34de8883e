"""Tables, sparse gradients and a small model, for the optimizers' tests."""

import numpy as np
import tensorflow as tf

from tfmtl.keras_host import keras, raw
from tfmtl.optimizers import LazyAdam, RowWiseAdagrad, optimizer

ROWS, WIDTH = 8, 4

MAKERS = {
    "lazy_adam": lambda: LazyAdam(0.01, weight_decay=0.01, global_clipnorm=0.1),
    "row_wise_adagrad": lambda: RowWiseAdagrad(0.05, weight_decay=0.01, clipnorm=0.05),
    "clipped_values": lambda: RowWiseAdagrad(0.05, clipvalue=0.02),
    "split": lambda: optimizer(embeddings=RowWiseAdagrad(0.05), dense=LazyAdam(0.01)),
    "schedule": lambda: LazyAdam(keras.optimizers.schedules.ExponentialDecay(0.01, 4, 0.5)),
    "average": lambda: LazyAdam(0.01, use_ema=True, ema_momentum=0.9),
}


def table(values):
    """The weight of a Keras `Embedding`, holding `values`."""
    layer = keras.layers.Embedding(*np.shape(values))
    layer.build((None,))
    layer.set_weights([np.asarray(values, "float32")])
    return layer.embeddings


def kernel(values):
    """The kernel of a Keras `Dense`, holding `values`."""
    layer = keras.layers.Dense(np.shape(values)[1], use_bias=False)
    layer.build((None, np.shape(values)[0]))
    layer.set_weights([np.asarray(values, "float32")])
    return layer.kernel


def slices(values, rows, num_rows=ROWS):
    """The sparse gradient that a lookup of `rows` gives, repeated rows and all."""
    values = np.asarray(values, "float32")
    return tf.IndexedSlices(tf.constant(values), tf.constant(rows), tf.constant([num_rows, values.shape[1]]))


def number(variable):
    return np.array(raw(variable))


def click_model(optimizer, *, rows=ROWS, fields=3):
    """Ids to one number, through a Keras `Embedding` and a `Dense`; the same weights at every call."""
    keras.utils.set_random_seed(3)
    ids = keras.Input((fields,), dtype="int32", name="ids")
    fields = keras.layers.Flatten()(keras.layers.Embedding(rows, WIDTH)(ids))
    hidden = keras.layers.Dense(5, activation="relu")(fields)
    model = keras.Model(ids, keras.layers.Dense(1, dtype="float32")(hidden))
    model.compile(optimizer, "mse")
    return model


def clicks(batches, *, batch_size=8, rows=ROWS, fields=3):
    """A dataset for `click_model`: half of the rows do not occur in the first half of it."""
    rng = np.random.default_rng(5)
    ids = rng.integers(0, rows, (batches * batch_size, fields)).astype("int32")
    ids[: len(ids) // 2] //= 2
    label = rng.normal(size=(len(ids), 1)).astype("float32")
    return tf.data.Dataset.from_tensor_slices((ids, label)).batch(batch_size)


def random_gradients(steps, seed=0):
    """Gradients of lookups: every row occurs at every step, some of them twice or more."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        rows = rng.permutation([*range(ROWS), 1, 1, 5]).astype("int32")
        yield slices(rng.normal(size=(len(rows), WIDTH)), rows)
