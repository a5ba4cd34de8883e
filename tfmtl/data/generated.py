"""Datasets of Python generators that let go of what they read."""

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from tfmtl.row_errors import noting_errors


def generated(generate: Callable[[], Iterator[Any]], output_signature: Any) -> tf.data.Dataset:
    """`tf.data.Dataset.from_generator(generate, output_signature=...)` that is freed with its last dataset.

    TensorFlow appends the function it is given to a list of the outermost graph, which outside of a graph is never
    emptied: a table that a generator reads would stay in memory until the process ends. So TensorFlow gets a function
    that knows `generate` weakly, and the dataset holds it. Every dataset that is made of this one and every iterator over it
    hold their inputs, so `generate` is there as long as somebody can ask for a row.
    """
    known = weakref.ref(generate)

    def generate_while_held() -> Iterator[Any]:
        held = known()
        if held is None:
            raise RuntimeError("The dataset whose rows are asked for was deleted.")
        return noting_errors(held)()

    dataset = tf.data.Dataset.from_generator(generate_while_held, output_signature=output_signature)
    dataset.held_by_tfmtl = generate
    return dataset
