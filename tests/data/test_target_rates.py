"""Rates of labels by id: equal to a reference in NumPy, blind to a row's own label, the same in training and in an export."""

import numpy as np
import pytest
import tensorflow as tf

from tests.harness import run_fresh
from tfmtl import export, models
from tfmtl.analysis.comparing.parts import held_parts
from tfmtl.data import Preprocessor, adapt, read
from tfmtl.data.target_rates import folds
from tfmtl.exporting import ExportedModel
from tfmtl.schema import Categorical, Numeric, Schema, Sequence, TargetRates, Task


def rows(count=600, seed=0):
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, 40, count), rng.integers(0, 30, count)
    taste = rng.normal(size=41)
    click = (rng.random(count) < 1 / (1 + np.exp(-taste[user]))).astype("float64")
    buy = np.where(click == 1, (rng.random(count) < 0.3).astype("float64"), np.nan)
    return {"user": user, "item": item, "click": click, "buy": buy}


TASKS = [Task("click"), Task("buy", sample_space="click")]


def schema_of(**options):
    items = Categorical("item", vocabulary="adapt", dim=4, side="item")
    return Schema([items, TargetRates("user_rates", column="user", side="user", **options)], TASKS)


def adapted(table, **options):
    schema = schema_of(**options)
    return adapt(schema, read(table, schema, batch_size=64))


def reference(table, mask, user, m=20.0):
    """Equation of `TargetRates` for one user over the rows of `mask`."""
    numbers, rows_of = [], 0
    for label in ("click", "buy"):
        base = np.nanmean(table[label])
        counted = mask & (table["user"] == user) & ~np.isnan(table[label])
        positives, labelled = table[label][counted].sum(), counted.sum()
        rate = (positives + m * base) / (labelled + m)
        numbers.append(np.log(rate / (1 - rate)) - np.log(base / (1 - base)))
        rows_of = max(rows_of, labelled)
    return [*numbers, rows_of / (rows_of + m)]


def test_rates_of_a_server_are_those_of_all_rows_and_0_where_nothing_is_known():
    table = rows()
    schema = adapted(table)
    x = {"user": tf.constant([3, 17, 999, -1], tf.int64), "item": tf.constant([1, 1, 1, 1], tf.int64)}
    found = Preprocessor(schema.features)(x)["user_rates"]
    everything = np.ones(len(table["user"]), bool)
    wanted = [reference(table, everything, 3), reference(table, everything, 17), [0, 0, 0], [0, 0, 0]]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_a_row_with_labels_sees_the_other_folds_only():
    table = rows()
    schema = adapted(table)
    feature = schema.feature("user_rates")
    x, y = next(iter(read(table, schema, batch_size=600)))
    fold = folds(feature, x).numpy()
    assert set(fold) == set(range(5))
    found = Preprocessor(schema.features)(x, y)[0]["user_rates"].numpy()
    for row in range(0, 600, 37):
        wanted = reference(table, fold != fold[row], table["user"][row])
        np.testing.assert_allclose(found[row], wanted, rtol=1e-5, atol=1e-6)


def test_no_row_sees_its_own_label():
    table = rows()
    schema = adapted(table)
    x, y = next(iter(read(table, schema, batch_size=600)))
    before = Preprocessor(schema.features)(x, y)[0]["user_rates"].numpy()
    turned = {**table, "click": table["click"].copy()}
    turned["click"][5] = 1 - turned["click"][5]
    # Two rows change places, so that the base rate stays what it is.
    other = np.flatnonzero((table["user"] != table["user"][5]) & (table["click"] != table["click"][5]))[0]
    turned["click"][other] = 1 - turned["click"][other]
    turned["buy"] = np.where(turned["click"] == 1, np.arange(600) % 2, np.nan)
    after = Preprocessor(adapted(turned).features)(x, y)[0]["user_rates"].numpy()
    assert before[5, 0] == after[5, 0]
    assert (before[:, 0] != after[:, 0]).any()


def test_labels_that_are_noise_cannot_be_read_off_the_rates():
    table = rows(4000)
    rng = np.random.default_rng(1)
    table["user"] = rng.integers(0, 1000, 4000)  # four rows a user
    table["click"] = rng.integers(0, 2, 4000).astype("float64")
    table["buy"] = np.where(table["click"] == 1, rng.integers(0, 2, 4000), np.nan)
    schema = adapted(table)
    x, y = next(iter(read(table, schema, batch_size=4000)))

    def correlation(preprocessor):
        rates = preprocessor(x, y)[0]["user_rates"].numpy()[:, 0]
        return np.corrcoef(rates, table["click"])[0, 1]

    assert correlation(Preprocessor(schema.features, out_of_fold=False)) > 0.3  # the leak, on purpose
    # Other rows of a user are few, and a coin tells nothing of the next: within 4 deviations of 0.
    assert abs(correlation(Preprocessor(schema.features))) < 4 / np.sqrt(4000)


def test_a_comparison_trains_on_the_rates_of_other_folds_and_judges_by_those_of_all_rows():
    table, later = rows(), rows(200, seed=3)
    schema = adapted(table)
    parts = held_parts(schema, ["user_rates"], {"train": table, "test": later}, None, None)

    def held(part, count):
        (x, *_), *_ = parts[part].batches(count, ["user_rates"], ["click"])
        return x["user_rates"].numpy()

    x, y = next(iter(read(table, schema, batch_size=600)))
    wanted = Preprocessor(schema.features)(x, y)[0]["user_rates"].numpy()
    np.testing.assert_array_equal(sorted(held("train", 600)[:, 0]), sorted(wanted[:, 0]))
    x, y = next(iter(read(later, schema, batch_size=200)))
    wanted = Preprocessor(schema.features)(x)["user_rates"].numpy()
    np.testing.assert_array_equal(sorted(held("test", 200)[:, 0]), sorted(wanted[:, 0]))


def test_the_column_itself_can_be_handed_on_to_group_by():
    table = rows()
    schema = adapted(table)
    x, _ = next(iter(read(table, schema, batch_size=600, columns=("user",), encode=True)))
    np.testing.assert_array_equal(x["user"], table["user"])
    assert set(x) == {"item", "user_rates", "user"}
    with pytest.raises(ValueError, match="features encode"):
        Preprocessor(schema.features, passthrough=["item"])


def test_json_and_a_second_adapt_keep_what_was_learned():
    schema = adapted(rows())
    assert Schema.from_json(schema.to_json()) == schema
    assert adapt(schema, [rows(seed=1)]) is schema
    assert schema.feature("user_rates").fold_columns == ("user", "item")
    assert schema.feature("user_rates").tasks == ("click", "buy")


def test_text_ids_and_missing_ones():
    table = rows()
    names = np.array([f"u{user}" for user in table["user"]], object)
    names[:9] = None
    numbers, texts = (
        adapted(table | {"user": np.where(np.arange(600) < 9, -1, table["user"])}),
        adapted(table | {"user": names}),
    )
    one = Preprocessor(numbers.features)(
        {"user": tf.constant([3, 4, -1], tf.int64), "item": tf.constant([1, 1, 1], tf.int64)}
    )
    other = Preprocessor(texts.features)(
        {"user": tf.constant(["u3", "u4", ""]), "item": tf.constant([1, 1, 1], tf.int64)}
    )
    np.testing.assert_array_equal(one["user_rates"], other["user_rates"])
    assert (other["user_rates"].numpy()[2] == 0).all()


def test_a_column_of_an_embedding_too_trains_exports_and_ranks(tmp_path):
    table = rows()
    features = [
        Categorical("user", vocabulary="adapt", dim=4, side="user"),
        Categorical("item", vocabulary="adapt", dim=4, side="item"),
        TargetRates("user_rates", column="user", side="user"),
        TargetRates("item_rates", column="item", tasks=("click",), side="item"),
    ]
    schema = Schema(features, TASKS)
    schema = adapt(schema, read(table, schema, batch_size=64))
    model = models.ple(schema, units=(8,), tower_units=(4,))
    raw = read(table, schema, batch_size=64)
    path = export(model, tmp_path / "ranker", schema, examples=raw)  # compares every signature with the model
    answers = ExportedModel(path)({name: table[name][:50] for name in ("user", "item")})
    served = Preprocessor(schema.features)({name: tf.constant(table[name][:50]) for name in ("user", "item")})
    np.testing.assert_allclose(answers["click"], model(served)["click"], atol=1e-6)


def test_rates_of_newer_rows_fit_the_same_weights():
    old, new = adapted(rows()), adapted(rows(seed=5))
    source, target = (models.shared_bottom(schema, units=(8,), tower_units=(4,)) for schema in (old, new))
    models.warm_start(target, new, source, old)
    x = {"user_rates": np.ones((4, 3), "float32"), "item": np.array([1, 2, 3, 4], "int32")}
    if old.feature("item") == new.feature("item"):
        np.testing.assert_array_equal(source(x)["click"], target(x)["click"])
    for before, after in zip(source.get_layer("trunk").weights, target.get_layer("trunk").weights, strict=True):
        np.testing.assert_array_equal(before, after)


def test_folds_are_the_same_in_another_process():
    feature = TargetRates("r", column="user", fold_columns=("user", "item"))
    here = folds(feature, {"user": tf.range(50, dtype=tf.int64), "item": tf.constant([str(i) for i in range(50)])})
    there = run_fresh(
        """
        import tensorflow as tf
        from tfmtl.data.target_rates import folds
        from tfmtl.schema import TargetRates
        feature = TargetRates("r", column="user", fold_columns=("user", "item"))
        found = folds(feature, {"user": tf.range(50, dtype=tf.int64), "item": tf.constant([str(i) for i in range(50)])})
        print(found.numpy().tolist())
        """
    )
    assert str(here.numpy().tolist()) in there


@pytest.mark.parametrize(
    "options, message",
    [
        ({"smoothing": 0}, "smoothing=0"),
        ({"num_folds": 1}, "num_folds=1"),
        ({"min_count": 0}, "min_count"),
        ({"tasks": ()}, "tasks"),
        ({"tasks": ("click", "click")}, "distinct"),
        ({"counts": "x"}, "all of them"),
    ],
)
def test_options_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        TargetRates("rates", column="user", **options)


def test_what_cannot_be_learned_is_refused():
    table = rows()
    with pytest.raises(ValueError, match="learned from labels"):
        adapt(schema_of(), [{"user": table["user"], "item": table["item"]}])
    with pytest.raises(ValueError, match=r"binary tasks of the schema.*'watch'"):
        adapted(table, tasks=("watch",))
    with pytest.raises(ValueError, match="a column beside 'user'"):
        adapted(table, fold_columns=("user",))
    with pytest.raises(ValueError, match="min_count=1000"):
        adapted(table, min_count=1000)
    with pytest.raises(ValueError, match=r"'buy'.* all alike"):
        adapted(table | {"buy": np.where(table["click"] == 1, 0.0, np.nan)})
    with pytest.raises(ValueError, match="never adapted"):
        Preprocessor(schema_of().features)
    with pytest.raises(ValueError, match="column of ids"):
        Schema([Numeric("user"), TargetRates("rates", column="user")], TASKS)
    with pytest.raises(ValueError, match="column of ids"):
        Schema(
            [Sequence("h", [Categorical("user", num_ids=3)], length=4), TargetRates("rates", column="h_user")], TASKS
        )
    with pytest.raises(ValueError, match="agree on its dtype"):
        Schema([Categorical("user", num_ids=3), TargetRates("rates", column="user", dtype="string")], TASKS)
