"""What the package takes from Keras beyond its public names: all of it is listed here, each with what guards it."""

import ast
import importlib
import pkgutil

import pytest
from harness import ROOT

import tfmtl
from tfmtl.keras_host import LEGACY, keras, layers_of

READ = {
    "_build_learning_rate": "tf_keras asks each optimizer to call it: without it none is made",
    "_compile_loss": "Keras 3's losses of the tasks, made before a step is traced: without it the first step takes longer",
    "_losses": "what layers add in Keras 3 is kept apart by it for each replica: tried first, and refused where it is not there",
    "_non_trainable_weights": "a layer's own in tf_keras, beside `_trainable_weights`: without it weights in parts are not saved",
    "_sharded_container": "what a part of a weight knows of the whole: without it `tests/training/test_weights_in_parts.py` fails",
    "_trainable_weights": "a layer's own in tf_keras: without it weights in parts are not saved",
    "_user_metrics": "what a model was compiled with: without it each metric is measured by itself, which takes longer",
    "_user_weighted_metrics": "as `_user_metrics`",
    "_make_callable_from_options": "TensorFlow's session: without it the server answers no request",
}
"""Names with an underscore that are read and that nothing in the package defines."""

PUBLIC = {"_asdict", "_fields", "_make", "_replace"}
"""Of named tuples, whose fields have all other names."""

OVERRIDDEN = (
    {("HostOptimizer", "_deduplicate_sparse_grad")} if LEGACY else {("HostOptimizer", "_all_reduce_sum_gradients")}
)
"""Methods of Keras that a class of ours replaces; `tests/optimizers/test_renamed_hooks.py` renames them."""


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def test_private_names_that_are_read():
    read, defined = set(), set()
    for path in (ROOT / "tfmtl").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                (defined if isinstance(node.ctx, ast.Store) else read).add(node.attr)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                defined.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                defined.add(node.id)
            elif isinstance(node, ast.Call) and getattr(node.func, "id", None) in ("getattr", "setattr", "hasattr"):
                read.update(a.value for a in node.args[1:2] if isinstance(a, ast.Constant))
    assert {name for name in read - defined if is_private(name)} - PUBLIC == set(READ)


def subclasses(kind):
    for below in kind.__subclasses__():
        yield below
        yield from subclasses(below)


def test_private_methods_that_are_overridden():
    for module in pkgutil.walk_packages(tfmtl.__path__, "tfmtl."):
        importlib.import_module(module.name)
    bases = (
        keras.callbacks.Callback,
        keras.initializers.Initializer,
        keras.layers.Layer,
        keras.losses.Loss,
        keras.metrics.Metric,
        keras.optimizers.Optimizer,
        keras.regularizers.Regularizer,
    )
    ours = {cls for base in bases for cls in subclasses(base) if cls.__module__.startswith("tfmtl.")}
    assert len(ours) > 30
    found = {
        (cls.__name__, name)
        for cls in ours
        for name in vars(cls)
        if is_private(name) and name != "_abc_impl"  # which Python puts into every abstract class
        if any(name in vars(base) for base in cls.__mro__ if not base.__module__.startswith("tfmtl."))
    }
    assert found == OVERRIDDEN


class Nest(keras.layers.Layer):
    """Holds layers in every way in which Keras finds them, one of them twice, and a metric, which is none."""

    def __init__(self, shared, **kwargs):
        super().__init__(**kwargs)
        self.alone = keras.layers.Dense(2, name="alone")
        self.listed = [keras.layers.Dense(2, name="first"), (keras.layers.Dense(2, name="second"), shared)]
        self.named = {"a": shared, "b": {"c": keras.layers.Dropout(0.1, name="deep")}}
        self.mean = keras.metrics.Mean(name="mean")

    def call(self, x):
        return self.alone(x)


@pytest.mark.parametrize("compiled", [False, True])
def test_layers_of_finds_all_and_the_outer_first(compiled):
    inputs = keras.Input((2,), name="x")
    shared = keras.Sequential([keras.layers.Dense(2, name="innermost")], name="shared")
    inner = keras.Model(inputs, Nest(shared, name="nest")(inputs), name="inner")
    other = keras.Input((2,), name="y")
    model = keras.Model(other, keras.layers.Dense(1, name="last")(inner(other)))
    if compiled:
        model.compile("sgd", "mse", metrics=["mae"])
    names = [layer.name for layer in layers_of(model) if not isinstance(layer, keras.layers.InputLayer)]
    outer_to_inner = {
        "inner": ["nest"],
        "nest": ["alone", "first", "second", "shared", "deep"],
        "shared": ["innermost"],
        "last": [],
    }
    assert sorted(names) == sorted({*outer_to_inner, *(name for below in outer_to_inner.values() for name in below)})
    for name, below in outer_to_inner.items():
        assert all(names.index(name) < names.index(each) for each in below)
    assert set(model.layers) <= set(layers_of(model)) and model not in layers_of(model)
