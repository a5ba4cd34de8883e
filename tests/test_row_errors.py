"""What a generator raises reaches whoever reads its dataset as itself, through all that TensorFlow wraps around it."""

import numpy as np
import pytest
import tensorflow as tf

from tfmtl.models import single_task
from tfmtl.row_errors import as_raised, noting_errors
from tfmtl.schema import Numeric, Schema, Task
from tfmtl.training import evaluate

SCHEMA = Schema([Numeric("x", transform=None)], [Task("click", mean=0.5)])
X, Y = tf.TensorSpec((None,)), tf.TensorSpec((None,))


class NoSuchRow(ValueError):
    pass


def dataset():
    def generate():
        yield {"x": np.zeros(4, "float32")}, {"click": np.zeros(4, "float32")}
        raise NoSuchRow("Line 7 of 'log.csv' has 3 columns. Received: 'a;b;c'")

    return tf.data.Dataset.from_generator(noting_errors(generate), output_signature=({"x": X}, {"click": Y})).prefetch(
        2
    )


def test_every_way_to_read_it():
    model = single_task(SCHEMA, units=(2,), tower_units=())
    model.compile("sgd", {"click": "binary_crossentropy"})
    ways = [
        lambda: model.fit(dataset(), verbose=0),
        lambda: model.evaluate(dataset(), verbose=0),
        lambda: model.predict(dataset().map(lambda x, y: x), verbose=0),
        lambda: evaluate(model, dataset(), SCHEMA),
    ]
    for way in ways:
        with pytest.raises(NoSuchRow, match=r"^Line 7 of"):
            way()


def test_other_errors_stay_what_they_are():
    with pytest.raises(tf.errors.InvalidArgumentError), as_raised():
        tf.debugging.assert_equal(1, 2)
    with pytest.raises(KeyError, match="Line 7"), as_raised():
        raise KeyError("Line 7 of 'log.csv' has 3 columns")
