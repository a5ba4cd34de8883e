"""adapt against NumPy: vocabularies, bins, moments, and what it refuses."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfmtl.data.adapting import adapt, extend
from tfmtl.data.preprocessing import Preprocessor
from tfmtl.data.reading import read
from tfmtl.data.summaries import Moments, Quantiles
from tfmtl.schema import Categorical, Numeric, Schema, Sequence, Task

NAN = np.nan


def schema(*features):
    return Schema(features, [Task("click")])


def test_vocabularies_start_with_the_most_frequent():
    batches = [
        {"city": np.array(["Rome", "", "Oslo"])},
        {"city": np.array(["Oslo", "Bern", "Rome", "Kyiv", "Kyiv", "Kyiv"])},
    ]
    city = adapt(schema(Categorical("city", vocabulary="adapt")), batches).feature("city")
    assert city == Categorical("city", vocabulary=("Kyiv", "Oslo", "Rome", "Bern"))
    frequent = adapt(schema(Categorical("city", vocabulary="adapt", min_count=2, dim=4)), batches).feature("city")
    assert frequent == Categorical("city", vocabulary=("Kyiv", "Oslo", "Rome"), dim=4)


@pytest.mark.parametrize(
    "cities",
    [
        np.array(["Zürich", "", "Rome"], object),
        np.array(["Zürich".encode(), b"", b"Rome"]),
        tf.constant(["Zürich", "", "Rome"]),
    ],
)
def test_text_comes_as_str_bytes_or_tensor(cities):
    assert adapt(schema(Categorical("city", vocabulary="adapt")), [{"city": cities}]).feature("city").vocabulary == (
        "Rome",
        "Zürich",
    )


def test_integer_vocabularies():
    batches = [{"code": np.array([3, -1, 3, 7, -5], "int32")}]
    code = adapt(schema(Categorical("code", vocabulary="adapt", dtype="int64")), batches).feature("code")
    assert code.vocabulary == (3, -5, 7)
    assert code.dtype == "int64"


def test_features_of_one_table_learn_one_vocabulary():
    item = Categorical("item", vocabulary="adapt", min_count=2, table="item")
    history = Sequence("history", (item, Categorical("kind", vocabulary="adapt")), length=2)
    x = {
        "item": np.array([1, 2, 3]),
        "history_item": tf.ragged.constant([[2, 2, 9], [], [3]], dtype=tf.int64),
        "history_kind": tf.ragged.constant([["pv", "buy", "pv"], [], ["pv"]]),
    }
    adapted = adapt(schema(item, history), tf.data.Dataset.from_tensors((x, {"click": [0.0, 1.0, 1.0]})))
    assert adapted.feature("item").vocabulary == (2, 3)
    fields = adapted.feature("history").fields
    assert fields[0] == adapted.feature("item")
    assert fields[1].vocabulary == ("pv", "buy")
    assert adapted.is_adapted
    assert Schema.from_json(adapted.to_json()) == adapted
    assert Preprocessor(adapted.features)(x)["history_item"].numpy().tolist() == [[1, 0], [0, 0], [2, 0]]


def test_leaves_alone_what_is_adapted():
    done = [
        Categorical("city", vocabulary=("Oslo",)),
        Numeric("age", transform="buckets", boundaries=(1.0,)),
        Numeric("price", mean=(0.0,), std=(1.0,)),
        Numeric("log", transform="log1p"),
    ]
    assert adapt(schema(*done), iter(())) == schema(*done)
    adapted = adapt(schema(*done, Categorical("new", vocabulary="adapt")), [{"new": np.array(["a"])}])
    assert list(adapted.features[:4]) == done


def test_standardizes_without_missing_values():
    rng = np.random.default_rng(0)
    x = (rng.normal(5, 3, size=(100, 3)) + np.array([0, 10, 1e4])).astype("float32")
    x[rng.random(x.shape) < 0.2] = NAN
    x[0] = np.inf
    batches = [{"v": x[i : i + 7], "c": np.full(len(x[i : i + 7]), 4, "int64")} for i in range(0, 100, 7)]
    adapted = adapt(schema(Numeric("v", size=3), Numeric("c")), batches)
    clean = np.where(np.isfinite(x), x, NAN).astype("float64")
    np.testing.assert_allclose(adapted.feature("v").mean, np.nanmean(clean, axis=0), rtol=1e-6)
    np.testing.assert_allclose(adapted.feature("v").std, np.nanstd(clean, axis=0), rtol=1e-6)
    assert (adapted.feature("c").mean, adapted.feature("c").std) == ((4.0,), (1.0,))


@pytest.mark.parametrize(
    ("given", "learned"),
    [
        (None, {"whole": False, "holes": True, "endless": True}),
        (True, dict.fromkeys(("whole", "holes", "endless"), True)),
    ],
)
def test_flags_where_something_was_missing(given, learned):
    """A flag that is 0 in every row has weights that nothing trains."""
    features = [Numeric(name, flag_missing=given) for name in learned]
    batches = [
        {"whole": np.array([1, 2]), "holes": np.array([1, 2]), "endless": np.array([1, np.inf])},
        {"whole": np.array([3, 4]), "holes": np.array([NAN, 2]), "endless": np.array([1, 2])},
    ]
    adapted = adapt(schema(*features), batches)
    assert {name: adapted.feature(name).flag_missing for name in learned} == learned
    assert Schema.from_json(adapted.to_json()) == adapted


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.floats(-1e6, 1e6, width=32), max_size=8), min_size=1, max_size=6))
def test_moments_do_not_depend_on_the_batches(batches):
    numbers = np.array([x for batch in batches for x in batch], "float64")
    moments = Moments(1)
    for batch in batches:
        moments.update(np.array(batch, "float32"))
    if len(numbers):
        mean, std = moments.statistics()
        np.testing.assert_allclose(mean[0], numbers.mean(), rtol=1e-9, atol=1e-6)
        expected = numbers.std()
        np.testing.assert_allclose(std[0], expected if expected > 1e-9 else std[0], rtol=1e-6)


def bins(numbers, num_buckets):
    feature = Numeric("x", transform="buckets", num_buckets=num_buckets)
    adapted = adapt(schema(feature), [{"x": part} for part in np.array_split(np.asarray(numbers, "float32"), 3)])
    encoded = Preprocessor(adapted.features)({"x": np.asarray(numbers, "float32")})["x"].numpy()
    return adapted.feature("x").boundaries, np.bincount(encoded, minlength=num_buckets + 1)


def test_bins_are_quantiles_where_values_differ():
    _, counts = bins(np.random.default_rng(1).normal(size=6400), 64)
    assert counts[0] == 0
    np.testing.assert_array_equal(counts[1:], 100)


def test_few_values_get_a_bin_each():
    edges, counts = bins([1, 1, 5, 9, NAN, np.inf], 64)
    assert edges == (5.0, 9.0)
    assert counts[:4].tolist() == [1, 2, 1, 2]  # NaN; 1, 1; 5; 9 and infinity


@pytest.mark.parametrize("heavy", [0.0, 0.5, 5.0])
def test_a_value_that_repeats_leaves_resolution_to_the_others(heavy):
    numbers = np.random.default_rng(2).random(1000)
    edges, counts = bins(np.concatenate([np.full(24_000, heavy), numbers]), 32)
    assert heavy in (edges if heavy else (0.0,))
    assert np.count_nonzero(counts) >= 31
    light = np.sort(counts[counts > 0])[:-1]
    assert counts.max() == 24_000
    assert light.max() <= 1.1 * 1000 / 30


def test_many_distinct_values_stay_even_in_bounded_memory():
    rng = np.random.default_rng(3)
    quantiles, seen = Quantiles(capacity=4000), []
    for _ in range(300):
        numbers = rng.lognormal(size=900).astype("float32")
        numbers[::3] = 1.5
        seen.append(numbers)
        quantiles.update(numbers)
    edges = quantiles.boundaries(16)
    assert len(quantiles._values) <= 4000
    shares = np.bincount(np.searchsorted(edges, np.concatenate(seen), side="right")) / 270_000
    assert len(shares) <= 16
    assert shares.max() == pytest.approx(1 / 3, abs=0.01)
    assert np.sort(shares)[-2] < 1.25 * (2 / 3) / 14


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=60), st.integers(1, 10))
def test_edges_are_values_and_no_more_than_asked(numbers, num_buckets):
    quantiles = Quantiles()
    quantiles.update(np.array(numbers, "float32"))
    edges = quantiles.boundaries(num_buckets)
    assert len(edges) < num_buckets or not edges
    assert set(edges) <= set(map(float, numbers)) - {float(min(numbers))}
    assert list(edges) == sorted(set(edges))
    if len(set(numbers)) <= num_buckets:
        assert len(edges) == len(set(numbers)) - 1


@pytest.mark.parametrize(
    ("feature", "values", "message"),
    [
        (Categorical("c", vocabulary="adapt"), np.array(["", ""]), "'c' holds no id that is not missing"),
        (Categorical("c", vocabulary="adapt"), np.array([-1, -1]), "'c' holds no id that is not missing"),
        (
            Categorical("c", vocabulary="adapt", min_count=3),
            np.array(["a", "a"]),
            "'c' has no id that occurs.*min_count=3",
        ),
        (Categorical("c", vocabulary="adapt", dtype="int64"), np.array(["a"]), "'c' must hold int64. Received: <U1"),
        (Categorical("c", vocabulary="adapt", dtype="string"), np.array([1]), "'c' must hold string. Received: int64"),
        (Categorical("c", vocabulary="adapt"), np.array([1.0]), "'c' must hold strings or integers. Received: float64"),
        (Categorical("c", vocabulary="adapt"), np.array(["a", 1.5], object), "'c' must hold strings. Received: 1.5"),
        (Numeric("c"), np.array([NAN]), "'c' holds no number"),
        (Numeric("c", transform="buckets"), np.array([NAN, np.inf]), "'c' holds no number"),
        (Numeric("c"), np.array(["1"]), "'c' must hold numbers. Received: <U1"),
        (Numeric("c", size=2), np.array([1.0, 2.0, 3.0]), "'c' .*reshape"),
        (Numeric("other"), np.array([1.0]), r"\['other'\] are missing. Received: \['c'\]"),
    ],
)
def test_names_the_column_it_cannot_learn_from(feature, values, message):
    with pytest.raises(ValueError, match=message):
        adapt(schema(feature), [{"c": values}])


def test_columns_of_one_table_must_agree_on_their_type():
    a, b = (Categorical(name, vocabulary="adapt", table="t") for name in "ab")
    with pytest.raises(ValueError, match="'b' must hold int64"):
        adapt(schema(a, b), [{"a": np.array([1]), "b": np.array(["x"])}])


def test_refuses_empty_and_endless_data():
    feature = Categorical("c", vocabulary="adapt")
    with pytest.raises(ValueError, match="The dataset is empty"):
        adapt(schema(feature), [])
    with pytest.raises(ValueError, match=r"infinite.*take"):
        adapt(schema(feature), tf.data.Dataset.from_tensors({"c": ["a"]}).repeat())


@pytest.mark.parametrize("dataset", ["rows.parquet", Path("rows.parquet"), {"c": ["a"]}, pd.DataFrame({"c": ["a"]})])
def test_refuses_what_has_no_batches(dataset):
    with pytest.raises(ValueError, match=r"must be batches of `\{column: array\}`, such as those of `tfmtl.read"):
        adapt(schema(Categorical("c", vocabulary="adapt")), dataset)


def test_a_vocabulary_grows_at_its_end():
    item = Categorical("item", vocabulary=(3, 1), table="item")
    known = schema(item, Sequence("seen", (item,), length=2), Categorical("city", vocabulary=("Rome",)))
    batches = [
        {"item": np.array([5, 3, -1]), "seen_item": tf.ragged.constant([[9, 9], [], [5]], dtype=tf.int64)},
        {"item": np.array([9, 4, 5]), "seen_item": np.array([[1, 1], [-1, -1], [2, -1]])},
    ]
    grown = extend(known, iter(batches), ["item"], min_count=2)
    assert grown.feature("item").vocabulary == grown.feature("seen").fields[0].vocabulary == (3, 1, 5, 9)
    assert grown.feature("city") == known.feature("city")
    assert extend(known, batches, "item", min_count=9) == known
    assert extend(known, batches, []) == known


@pytest.mark.parametrize(
    ("tables", "message"),
    [(["city", "shop"], r"\['shop'\], which are no tables"), (["age"], "no tables"), (["city"], "Columns")],
)
def test_extend_refuses(tables, message):
    known = schema(Categorical("city", vocabulary=("Rome",)), Numeric("age", transform=None))
    with pytest.raises(ValueError, match=message):
        extend(known, [{"age": np.array([1.0])}], tables)
    with pytest.raises(ValueError, match="never adapted"):
        extend(schema(Categorical("city", vocabulary="adapt")), [], ["city"])
    with pytest.raises(ValueError, match="empty"):
        extend(known, [], ["city"])
    with pytest.raises(ValueError, match="min_count=0"):
        extend(known, [], ["city"], min_count=0)


def labelled(**labels):
    rows = len(next(iter(labels.values())))
    return [({"city": np.array(["Rome"] * rows)}, {name: np.array(y, "float32") for name, y in labels.items()})]


def test_base_rates_and_moments_of_labels_are_learned_over_the_rows_that_count():
    nan = np.nan
    schema = Schema(
        [Categorical("city", vocabulary="adapt")], [Task("click"), Task("buy"), Task("watch", "regression")]
    )
    batches = [
        *labelled(click=[1, 0, 0, 0], buy=[1, nan, nan, nan], watch=[1.0, 2.0, nan, 3.0]),
        *labelled(click=[1, 0], buy=[0, nan], watch=[10.0, nan]),
    ]
    click, buy, watch = adapt(schema, batches).tasks
    assert click.mean == pytest.approx(2 / 6) and buy.mean == pytest.approx(1 / 2)
    assert watch.mean == pytest.approx(4.0) and watch.variance == pytest.approx(np.var([1, 2, 3, 10]))
    assert click.unit_of_loss == pytest.approx(-(np.log(1 / 3) / 3 + 2 * np.log(2 / 3) / 3))
    assert watch.unit_of_loss == watch.variance


def test_what_is_known_of_labels_stays_and_needs_no_second_pass():
    features = [Categorical("city", vocabulary=("Rome",))]
    schema = Schema(features, [Task("click", mean=0.25), Task("watch", "regression", mean=3.0, variance=4.0)])
    assert adapt(schema, None) is schema
    half = Schema(features, [Task("click", mean=0.25), Task("buy")])
    assert [task.mean for task in adapt(half, labelled(click=[1, 1], buy=[1, 0])).tasks] == [0.25, 0.5]


def test_without_labels_nothing_is_learned_of_tasks():
    schema = Schema([Categorical("city", vocabulary="adapt")], [Task("click"), Task("buy")])
    adapted = adapt(schema, [{"city": np.array(["Rome"])}])
    assert adapted.tasks == schema.tasks
    assert [task.mean for task in adapt(schema, labelled(buy=[1, 0])).tasks] == [None, 0.5]
    assert all(task.unit_of_loss is None for task in adapted.tasks)


def test_a_label_value_that_never_occurs_is_said():
    schema = Schema([Categorical("city", vocabulary="adapt")], [Task("click", label=("kind", "A")), Task("buy")])
    table = {"city": ["Rome"] * 4, "kind": ["a", "b", "a", "b"], "buy": [1, 0, 1, 0]}
    with pytest.warns(UserWarning, match=r"All 4 labels of task 'click' are 0.*\('kind', 'A'\)") as warned:
        adapted = adapt(schema, read(table, schema, batch_size=2))
    assert len([w for w in warned if "labels of task" in str(w.message)]) == 1
    assert adapted.task("click").mean == 0 and adapted.task("click").unit_of_loss is None


def test_rows_that_never_count_are_said():
    space = Schema([Categorical("city", vocabulary=("Rome",))], [Task("buy", sample_space=("kind", "A"))])
    table = {"city": ["Rome"] * 4, "kind": ["a", "b", "a", "b"], "buy": [1, 0, 1, 0]}
    with pytest.warns(UserWarning, match=r"None of 4 rows has a label of task 'buy'.*sample space \('kind', 'A'\)"):
        assert adapt(space, read(table, space, batch_size=2)).task("buy").mean is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean": 1.5}, r"mean=1.5"),
        ({"mean": float("nan")}, "finite"),
        ({"variance": 1.0}, "variance=1.0 for the binary task"),
        ({"kind": "regression", "variance": -1.0}, "variance=-1.0"),
    ],
)
def test_statistics_that_no_labels_have_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Task("click", **options)


def test_statistics_survive_json():
    schema = Schema(
        [Categorical("city", vocabulary=("Rome",))],
        [Task("click", mean=0.1), Task("w", "regression", mean=2.0, variance=3.0)],
    )
    assert Schema.from_json(schema.to_json()) == schema
