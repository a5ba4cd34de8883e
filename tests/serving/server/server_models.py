"""Small SavedModels for the server's tests: every kind of signature that the contract speaks of."""

import os
from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

_string = tf.TensorSpec((None,), tf.string, name="inputs")


class Ranker(tf.Module):
    """`click = scale * price + [user known] + 0.001 * age`, `buy = 2 * click`; and the forms around it."""

    def __init__(self, scale: float):
        super().__init__()
        self.scale = tf.Variable(scale)
        keys = tf.lookup.KeyValueTensorInitializer(["ann", "bob"], tf.constant([1.0, 2.0]))
        self.known = tf.lookup.StaticHashTable(keys, 0.0)

    def score(self, user, age, price):
        return self.scale * price + self.known.lookup(user)[:, None] + 0.001 * tf.cast(age, tf.float32)[:, None]

    @tf.function(
        input_signature=[
            tf.TensorSpec((None,), tf.string, name="user"),
            tf.TensorSpec((None,), tf.int64, name="age"),
            tf.TensorSpec((None, 1), tf.float32, name="price"),
        ]
    )
    def serving_default(self, user, age, price):
        click = self.score(user, age, price)
        return {"click": click, "buy": 2.0 * click}

    @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x")])
    def single(self, x):
        return {"y": self.scale * tf.reduce_sum(x, axis=1)}

    @tf.function(input_signature=[_string])
    def classify(self, inputs):
        scores = self._parsed(inputs)
        scores = tf.concat([1.0 - scores, scores], axis=1)
        classes = tf.broadcast_to(tf.constant([["no", "yes"]]), tf.shape(scores))
        return {"scores": scores, "classes": classes}

    @tf.function(input_signature=[_string])
    def scores_only(self, inputs):
        return {"scores": self._parsed(inputs)}

    @tf.function(input_signature=[_string])
    def regress(self, inputs):
        return {"outputs": self._parsed(inputs)}

    @tf.function(input_signature=[_string])
    def regress_wide(self, inputs):
        return {"outputs": tf.tile(self._parsed(inputs), [1, 2])}

    def _parsed(self, inputs):
        spec = {"price": tf.io.FixedLenFeature((1,), tf.float32, 0.0), "age": tf.io.FixedLenFeature((1,), tf.int64, 0)}
        columns = tf.io.parse_example(inputs, spec)
        return self.scale * columns["price"] + 0.001 * tf.cast(columns["age"], tf.float32)

    @tf.function(
        input_signature=[
            tf.TensorSpec(None, tf.float64, name="f64"),
            tf.TensorSpec(None, tf.int32, name="i32"),
            tf.TensorSpec(None, tf.int8, name="i8"),
            tf.TensorSpec(None, tf.uint8, name="u8"),
            tf.TensorSpec(None, tf.uint32, name="u32"),
            tf.TensorSpec(None, tf.uint64, name="u64"),
            tf.TensorSpec(None, tf.bool, name="flag"),
            tf.TensorSpec(None, tf.string, name="text"),
        ]
    )
    def echo(self, f64, i32, i8, u8, u32, u64, flag, text):
        return {
            "f64_out": tf.identity(f64),
            "i32_out": tf.identity(i32),
            "i8_out": tf.identity(i8),
            "u8_out": tf.identity(u8),
            "u32_out": tf.identity(u32),
            "u64_out": tf.identity(u64),
            "flag_out": tf.identity(flag),
            "text_out": tf.identity(text),
            "text_bytes": tf.identity(text),
        }

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, name="x")])
    def any_float(self, x):
        return {"x_out": tf.identity(x)}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.string, name="s")])
    def any_string(self, s):
        return {"s_out": tf.identity(s)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float16, name="h")])
    def half(self, h):
        return {"h_out": tf.identity(h)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, name="x")])
    def half_out(self, x):
        return {"h": tf.cast(x, tf.float16)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, name="x")])
    def rank_zero(self, x):
        return {"total": tf.reduce_sum(x), "x_out": tf.identity(x)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, name="x")])
    def shorter(self, x):
        return {"head": x[:1]}

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.float32, name="x")])
    def padded(self, x):
        return {"row_sum": tf.reduce_sum(x, axis=1)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, name="x")])
    def picky(self, x):
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(x >= 0.0), ["negative" * 300])]):
            return {"y": tf.identity(x)}


SIGNATURES = [
    name for name, member in vars(Ranker).items() if not name.startswith("_") and hasattr(member, "input_signature")
]


def write_ranker(base: Path, version: int | str, *, scale: float = 1.0) -> Path:
    """Writes a Ranker under `base` as an exporter must: elsewhere first, then one rename."""
    model = Ranker(scale)
    staged = base.parent / f".{base.name}-{version}"
    tf.saved_model.save(model, str(staged), signatures={name: getattr(model, name) for name in SIGNATURES})
    _give_default(staged)
    base.mkdir(parents=True, exist_ok=True)
    os.rename(staged, base / str(version))
    return base / str(version)


def _give_default(path: Path) -> None:
    """Gives `single`'s input a default, which the server fills in for requests that leave it out."""
    file = path / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    default = saved.meta_graphs[0].signature_def["single"].defaults["x"]
    default.CopyFrom(tf.make_tensor_proto([[1.0, 2.0]]))
    file.write_bytes(saved.SerializeToString())
