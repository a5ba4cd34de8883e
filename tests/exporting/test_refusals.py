"""What an export refuses, and that it then publishes nothing."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from tfmtl.data.preprocessing import Preprocessor
from tfmtl.exporting.export import export
from tfmtl.exporting.parity import ParityError
from tfmtl.exporting.score import Score
from tfmtl.keras_host import keras
from tfmtl.models.build import encoded_inputs
from tfmtl.models.presets import shared_bottom
from tfmtl.schema import Categorical, Numeric, Schema, Task

TINY = Schema(
    [Categorical("city", vocabulary=("Oslo", "Rome")), Numeric("age", transform=None)], [Task("click"), Task("buy")]
)
ROWS = {"city": np.array(["Oslo", "?"], object), "age": np.array([1.0, np.nan], "float32")}


def tiny_model(schema=TINY, tasks=("click", "buy"), finish=lambda x: x, clean=True, **head):
    inputs = encoded_inputs(schema.features)
    age = keras.layers.Reshape((1,))(inputs["age"])
    x = keras.layers.Concatenate()([keras.layers.Embedding(3, 2)(inputs["city"]), IsMissing()(age) if clean else age])
    return keras.Model(inputs, {task: finish(keras.layers.Dense(1, **head)(x)) for task in tasks})


class IsMissing(keras.layers.Layer):
    def call(self, x):
        return tf.cast(tf.math.is_nan(x), tf.float32)


class Noise(keras.layers.Layer):
    """Answers differently each time."""

    def call(self, x):
        return x + tf.random.uniform(tf.shape(x))


@pytest.fixture(scope="module")
def tiny():
    return tiny_model()


@pytest.fixture
def base(tmp_path):
    """A base path that has to be as empty after the test as before."""
    yield tmp_path / "models" / "ranker"
    left = [path for path in tmp_path.rglob("*") if path.name not in ("models", "ranker")]
    assert left == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": ["share"]}, r"name='share'; known: \['click', 'buy'\]"),
        ({"tasks": []}, "0 tasks"),
        ({"tasks": ["buy", "buy"]}, "name='buy' twice"),
        ({"version": 0}, "version=0"),
        ({"version": 1.0}, "version=1.0"),
        ({"keep": 0}, "keep=0"),
        ({"keep": "3"}, "keep='3'"),
        ({"metrics": [0.5]}, r"`metrics` must be a dict.*Received: metrics=\[0.5\]"),
        ({"score": Score({"share": 1.0})}, r"weighs tasks \['share'\]"),
        ({"score": Score({"buy": 1.0}), "tasks": ["click"]}, r"weighs tasks \['buy'\]"),
        ({"examples": {"city": ROWS["city"]}}, r"lack the columns \['age'\]"),
        ({"examples": {"city": np.array([2, 0]), "age": ROWS["age"]}}, "'city' of `examples` must be raw string"),
        ({"examples": {"city": ROWS["city"], "age": np.array(["a", "b"])}}, "'age' of `examples` must be raw float32"),
        (
            {"examples": {"city": ROWS["city"], "age": np.zeros((2, 3), "float32")}},
            r"shape \(None,\). Received: \(2, 3\)",
        ),
        ({"examples": {"city": ROWS["city"][:1], "age": ROWS["age"]}}, "equally long.*'city': 1, 'age': 2"),
        ({"examples": {"city": ROWS["city"][:0], "age": ROWS["age"][:0]}}, "no rows"),
        ({"examples": tf.data.Dataset.from_tensors(ROWS).take(0)}, "no rows"),
        ({"examples": 7}, "Received: int"),
    ],
)
def test_arguments(tiny, base, options, message):
    with pytest.raises(ValueError, match=message):
        export(tiny, base, TINY, **options)


def test_a_schema_that_was_never_adapted(tiny, base):
    fresh = Schema([Categorical("city", vocabulary="adapt", dtype="string"), Numeric("age")], TINY.tasks)
    with pytest.raises(ValueError, match=r"\['city', 'age'\] were never adapted"):
        export(tiny, base, fresh, preprocessor=Preprocessor(TINY.features))


def test_a_model_of_another_schema(tiny, base):
    with pytest.raises(ValueError, match=r"wants \['city'\], which the schema lacks, and does not read \['town'\]"):
        export(tiny, base, Schema([Categorical("town", num_ids=3), TINY.features[1]], TINY.tasks))
    with pytest.raises(ValueError, match=r"reads 'age' as \(None,\) float32; the schema gives \(None, 2\) float32"):
        export(tiny, base, Schema([TINY.features[0], Numeric("age", size=2, transform=None)], TINY.tasks))
    with pytest.raises(ValueError, match=r"tasks \['click', 'share'\]. Received: \['click', 'buy'\]"):
        export(tiny, base, Schema(TINY.features, [Task("click"), Task("share")]))


def test_a_model_that_is_not_functional(base):
    with pytest.raises(ValueError, match=r"from named inputs to a dict. Received: Sequential"):
        export(keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]), base, TINY)
    with pytest.raises(ValueError, match="from named inputs to a dict"):
        export(keras.Model(), base, TINY)


def test_heads_that_are_no_column_of_float32(base):
    with pytest.raises(
        ValueError, match=r"'click' must be predicted as \(None, 1\) float32. Received: \(None, 1\) float16"
    ):
        export(tiny_model(dtype="float16"), base, TINY)
    with pytest.raises(ValueError, match=r"Received: \(None, 1, 1\) float32"):
        export(tiny_model(finish=keras.layers.Reshape((1, 1))), base, TINY)


def test_weights_named_like_a_column(base):
    schema = Schema([*TINY.features, Categorical("buy_weight", num_ids=3)], TINY.tasks)
    inputs = encoded_inputs(schema.features)
    tables = [keras.layers.Embedding(4, 1)(inputs[name]) for name in ("buy_weight", "city")]
    x = keras.layers.Concatenate()([*tables, keras.layers.Reshape((1,))(inputs["age"])])
    model = keras.Model(inputs, {task: keras.layers.Dense(1)(x) for task in TINY.task_names})
    with pytest.raises(ValueError, match=r"Received: \['buy_weight'\]"):
        export(model, base, schema, score=Score({"buy": 1.0}, at_request=True))


def test_answers_that_are_not_the_models_own(base):
    with pytest.raises(
        ParityError, match=r"'serving_default' differs from the model on task '.*' by .*tolerance 1e-06"
    ):
        export(tiny_model(finish=Noise()), base, TINY, examples=ROWS)


def test_a_model_that_answers_nan(base):
    with pytest.raises(ParityError, match=r"The model answers nan for task '.*', row 1"):
        export(tiny_model(clean=False), base, TINY, examples=ROWS)


def test_a_table_that_nobody_owns(tiny, base):
    class Loose:
        """Holds its lookup tables where TensorFlow cannot find them."""

        def __init__(self):
            inner = Preprocessor(TINY.features)
            self.raw_signature, self.encoded_signature = inner.raw_signature, inner.encoded_signature
            self._call = lambda x: inner(x)

        def __call__(self, x):
            return self._call(x)

    with pytest.raises(ValueError, match=r"must be a `tf.Module` or a Keras layer"):
        export(tiny, base, TINY, preprocessor=Loose())


def test_an_existing_version(tiny, tmp_path):
    (tmp_path / "ranker" / "3").mkdir(parents=True)
    with pytest.raises(FileExistsError, match="Version 3 exists already"):
        export(tiny, tmp_path / "ranker", TINY, version=3)
    assert list((tmp_path / "ranker" / "3").iterdir()) == []


def trained_on(schema):
    return shared_bottom(schema, units=(3,), tower_units=())


def test_a_schema_whose_tables_or_kinds_are_not_the_models(base):
    """Rows beyond a table are read as unknown, so parity alone would compare wrong with wrong."""
    features = (Categorical("city", vocabulary=("a", "b")), Numeric("age", transform="buckets", boundaries=(1.0, 2.0)))
    tasks = (Task("click"), Task("watch", "regression"))
    model = trained_on(Schema(features, tasks))
    for other, message in (
        (
            Schema([replace(features[0], vocabulary=("a", "b", "c")), features[1]], tasks),
            "'city': 3.*Received: {'city': 4}",
        ),
        (Schema([features[0], replace(features[1], boundaries=(1.0,))], tasks), "'age': 4.*Received: {'age': 3}"),
        (Schema(features, [tasks[0], Task("watch")]), "'watch': 'regression'.*Received: {'watch': 'binary'}"),
    ):
        with pytest.raises(ValueError, match=rf"not that of the model, whose layer .* was made for {{{message}"):
            export(model, base, other)


def test_weights_that_are_not_finite(base):
    model = trained_on(TINY)
    weights = model.get_weights()
    weights[0][1] = np.nan
    model.set_weights(weights)
    with pytest.raises(ValueError, match="holds NaN or infinite numbers"):
        export(model, base, TINY)


def test_inside_a_strategys_scope(tiny, base):
    with (
        tf.distribute.OneDeviceStrategy("CPU:0").scope(),
        pytest.raises(RuntimeError, match=r"outside of `strategy.scope\(\)`.*Received: OneDeviceStrategy"),
    ):
        export(tiny, base, TINY)
    assert not base.exists()
