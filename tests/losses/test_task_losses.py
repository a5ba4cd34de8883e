"""Losses that a task may be given: NumPy references, missing labels, slopes far out, labels that are refused, replicas."""

import numpy as np
import pytest
import tensorflow as tf
from harness import gradients, run_fresh
from losses.loss_cases import CASES, GROUPS, RANKING, ROWS

from tfmtl import losses
from tfmtl.keras_host import keras, ops, raw
from tfmtl.layers import TaskTower
from tfmtl.layers.output_links import predict, raw_width
from tfmtl.outputs import Output
from tfmtl.schema import Numeric, Schema, Task, TaskGrid

NAN = float("nan")
MISSING = np.arange(ROWS) % 3 == 1
WEIGHTS = np.random.default_rng(1).uniform(0, 3, ROWS).astype("float32")
EVERY = {**CASES, **{name: case for name, (case, _) in RANKING.items()}}


def with_gaps(case):
    labels = np.where(MISSING, NAN, case.labels).astype("float32")
    return labels if case.task.group is None else np.stack([labels, GROUPS], 1)


@pytest.mark.parametrize("name", CASES)
def test_follows_its_equation_over_the_labelled_rows(name):
    case, loss = CASES[name], CASES[name].task.masked_loss
    predictions = case.predictions.astype("float64")
    costs = case.reference(
        case.labels.astype("float64"), predictions[:, 0] if predictions.shape[1] == 1 else predictions
    )
    expected = [costs.mean(), costs[~MISSING].mean(), (costs * WEIGHTS)[~MISSING].sum() / (~MISSING).sum()]
    got = [
        loss(case.given, case.predictions),
        loss(with_gaps(case), case.predictions),
        loss(with_gaps(case), case.predictions, WEIGHTS),
    ]
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", RANKING)
def test_compares_rows_of_a_group(name):
    case, reference = RANKING[name]
    loss, labels = case.task.masked_loss, np.where(MISSING, NAN, case.labels).astype("float64")
    got = [loss(with_gaps(case), case.predictions), loss(with_gaps(case), case.predictions, WEIGHTS)]
    expected = [reference(case, labels, np.ones(ROWS)), reference(case, labels, WEIGHTS)]
    np.testing.assert_allclose(got, expected, rtol=2e-5)


@pytest.mark.parametrize("name", EVERY)
def test_a_missing_label_has_no_slope_and_none_at_all_costs_nothing(name):
    case, loss = EVERY[name], EVERY[name].task.masked_loss
    predictions = tf.Variable(np.where(MISSING[:, None], NAN, case.predictions))
    (slope,) = gradients(lambda: loss(with_gaps(case), predictions), [predictions])
    np.testing.assert_array_equal(slope[MISSING], 0)
    assert np.isfinite(slope).all() and np.abs(slope).max() > 0
    nothing = case.given.copy()
    nothing[..., *([0] if nothing.ndim == 2 else [])] = NAN
    assert float(loss(nothing, case.predictions)) == 0


@pytest.mark.parametrize("name", EVERY)
def test_a_label_that_the_task_cannot_have_is_named(name):
    case = EVERY[name]
    labels = case.given.copy()
    labels[(2, 0) if labels.ndim == 2 else 2] = np.inf if name == "graded" else case.wrong
    with pytest.raises(ValueError, match=r"The labels of `t` must be .*Received:"):
        case.task.masked_loss(labels, case.predictions)


FORMS = {
    name: case for name, case in CASES.items() if name in ("classes", "coral", "poisson", "zero inflated", "watch time")
}


def of_raw(name, raw, label):
    """The loss of one row from the last layer's numbers, in float64 and in its stable form."""
    if name == "classes":
        return tf.reduce_logsumexp(raw) - raw[0, int(label)]
    if name == "coral":
        rising = raw[0]  # logits of y <= k
        return tf.reduce_sum(tf.where(label > np.arange(3), tf.nn.softplus(rising), tf.nn.softplus(-rising)))
    if name == "poisson":
        return tf.exp(raw[0, 0]) - label * raw[0, 0]
    if name == "watch time":
        return label * tf.nn.softplus(-raw[0, 0]) + (label == 0) * tf.nn.softplus(raw[0, 0])
    deviation = tf.nn.softplus(raw[0, 2]) + 1e-3
    if label == 0:
        return tf.nn.softplus(raw[0, 0])
    density = np.log(label) + tf.math.log(deviation) + (np.log(label) - raw[0, 1]) ** 2 / (2 * deviation**2)
    return tf.nn.softplus(-raw[0, 0]) + density


@pytest.mark.parametrize("name", FORMS)
def test_a_confident_mistake_learns_as_from_the_raw_numbers(name):
    """The prediction goes through float32 probabilities and exponentials; its slopes are those of the stable form."""
    task, far = CASES[name].task, 40.0
    width = 3 if name == "coral" else raw_width(task.output)
    rows = {
        "classes": ([[far, 0, -far, -1]], 2.0),
        "coral": ([[-15, -14, -3]], 0.0),
        "poisson": ([[-9.0]], 3.0),
        "watch time": ([[-30.0]], 200.0),
        "zero inflated": ([[-far, 2.0, 0.5]], 50.0),
    }
    raw, label = rows[name]
    given = tf.Variable(np.array(raw, "float32"))
    assert given.shape[1] == width
    (slope,) = gradients(
        lambda: task.masked_loss(np.array([label], "float32"), predict(task.output, given, training=True)), [given]
    )
    exact = tf.Variable(np.array(raw, "float64"))
    (expected,) = gradients(lambda: of_raw(name, exact, label), [exact])
    np.testing.assert_allclose(slope, expected, rtol=2e-3, atol=1e-5)


def test_towers_give_what_the_loss_reads():
    """Classes sum to 1 and quantiles rise, in float32 under mixed precision; towers start at what labels are on average."""
    x = np.random.default_rng(2).normal(size=(32, 5)).astype("float32") * 20
    still = np.zeros_like(x)
    starts = {
        "classes": (0.1, 0.2, 0.3, 0.4),
        "coral": (0.1, 0.2, 0.3, 0.4),
        "poisson": 3.0,
        "zero inflated": 5.0,
        "quantile": -2.0,
    }
    for name, start in starts.items():
        output = CASES[name].task.output
        tower = TaskTower([4], kind=CASES[name].task.kind, output=output, label_mean=start, dtype="mixed_bfloat16")
        for training in (True, False):
            y = np.asarray(tower(x, training=training))
            assert y.dtype == np.float32 and y.shape == (32, output.width) and np.isfinite(y).all()
            if output.point is None:
                np.testing.assert_allclose(y.sum(1), 1, rtol=1e-5)
                assert y.min() >= 0
        if name == "quantile":
            assert (np.diff(y, axis=1) >= 0).all()
        begun = np.asarray(tower(still))[0]
        np.testing.assert_allclose(begun if output.point is None else begun[output.point], start, rtol=2e-3)
        again = TaskTower.from_config(tower.get_config())
        assert (again.gives, again.label_mean) == (output, list(start) if isinstance(start, tuple) else start)


def test_quantiles_are_found():
    """Of a fixed distribution the three columns become its quantiles."""
    rng = np.random.default_rng(0)
    labels = rng.exponential(size=4000).astype("float32")
    task = Task("wait", "regression", loss=losses.Quantile((0.1, 0.5, 0.9)))
    tower, optimizer = TaskTower([], kind="regression", output=task.output), keras.optimizers.Adam(0.05)
    x = np.ones((4000, 1), "float32")
    tower.build((None, 1))
    optimizer.build(tower.trainable_variables)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = task.masked_loss(labels, tower(x))
        variables = [raw(v) for v in tower.trainable_variables]
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), tower.trainable_variables, strict=True))

    for _ in range(250):
        step()
    np.testing.assert_allclose(np.asarray(tower(x[:1]))[0], np.quantile(labels, (0.1, 0.5, 0.9)), atol=0.05)


@keras.saving.register_keras_serializable("mine")
def cubed(labels, predictions):
    return ops.abs(labels - predictions) ** 3


def test_a_task_writes_its_loss_down():
    tasks = [case.task for case in EVERY.values()] + [Task("t", "regression", loss=cubed)]
    for task in tasks:
        schema = Schema([Numeric("x")], [task])
        again = Schema.from_json(schema.to_json())
        assert again == schema and hash(again) == hash(schema)
        assert again.tasks[0].masked_loss.get_config() == task.masked_loss.get_config()
    assert Task("t", "regression", loss=losses.Tweedie(1.3)) != Task("t", "regression", loss=losses.Tweedie(1.4))
    grid = TaskGrid([Task("stars", "multiclass", classes=("a", "b"))], {"new": 1}, column="group")
    assert TaskGrid.from_json(grid.to_json()).tasks == grid.tasks and grid.tasks[0].classes == ("a", "b")


WRONG = [
    (lambda: Task("t", "multiclass"), "needs `num_classes`, or its `classes`"),
    (lambda: Task("t", "multiclass", num_classes=1), "`num_classes` of task 't' must be an integer >= 2"),
    (lambda: Task("t", "multiclass", classes=("a", "a")), "`classes` of task 't' must be distinct"),
    (lambda: Task("t", "multiclass", classes=("a", 1)), "all texts or all numbers"),
    (lambda: Task("t", num_classes=3), "are of a multiclass task. Received: the binary task 't'"),
    (lambda: Task("t", "multiclass", num_classes=2, mean=0.5), "has `class_rates`"),
    (lambda: Task("t", "multiclass", num_classes=2, class_rates=(0.5, 0.6)), "2 shares that add up to 1"),
    (lambda: Task("t", loss=losses.Tweedie()), "Tweedie is of tasks of kind regression. Received: kind='binary'"),
    (lambda: Task("t", "multiclass", num_classes=3, loss=losses.ClassBalanced((1, 2, 3, 4))), "is of 4 classes"),
    (lambda: Task("t", "multiclass", num_classes=3, loss=losses.Coral()), "`Coral` is a loss of ordered classes"),
    (lambda: Task("t", loss=losses.PairwiseLogistic()), "`group` must name the column"),
    (lambda: Task("t", group="user"), "`group` of task 't' is for a loss that compares rows"),
    (lambda: Task("t", loss=lambda y, p: (y - p) ** 2), "must be one that a file can name"),
    (lambda: Task("t", loss="cosine_similarity"), "`loss` must depend on a prediction of one column"),
    (lambda: losses.Quantile((0.5, 0.1)), "`levels` must rise within"),
    (lambda: losses.Tweedie(2.0), "`power` must be in"),
    (lambda: losses.ClassBalanced((5,)), "`counts` must be rows >= 1 of two classes"),
    (lambda: TaskTower(kind="multiclass"), "A multiclass tower needs `output`"),
    (lambda: TaskTower(kind="multiclass", output=Output("classes", 2), label_mean=0.5), "2 rates that add up to 1"),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_bad_input_is_refused_in_words(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_labels_without_groups_are_refused():
    case = EVERY["pairwise"]
    with pytest.raises(ValueError, match="The labels of `t` must come with the groups"):
        case.task.masked_loss(case.labels, case.predictions)


def test_two_replicas_equal_one():
    """All labels of a task on one of them, groups whole: the shares add up to the loss of the global batch, and so do slopes."""
    run_fresh(
        """
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

        import numpy as np
        from losses.loss_cases import CASES, RANKING, ROWS

        half, given = ROWS // 2, {}
        cases = {name: CASES[name] for name in ("poisson", "classes", "zero inflated")}  # the others are divided alike
        cases |= {name: case for name, (case, _) in RANKING.items()}
        for name, case in cases.items():
            given[name] = case.given.astype("float32"), case.predictions
            labels = given[name][0][:, 0] if case.task.group else given[name][0]
            labels[np.arange(ROWS) % 3 == 1] = labels[half + 4 :] = np.nan

        def shares_and_slopes(parts):
            found = {}
            for name, (labels, predictions) in parts.items():
                with tf.GradientTape() as tape:
                    tape.watch(predictions)
                    share = cases[name].task.masked_loss(labels, predictions)
                found[name] = share, tape.gradient(share, predictions)
            return found

        whole = shares_and_slopes(tf.nest.map_structure(tf.constant, given))
        parts = [tf.nest.map_structure(lambda x: tf.constant(x[s]), given) for s in (slice(half), slice(half, None))]
        dealt = tf.nest.map_structure(
            lambda *of: strategy.experimental_distribute_values_from_function(
                lambda context: of[context.replica_id_in_sync_group]
            ),
            *parts,
        )
        found = tf.function(lambda dealt: strategy.run(shares_and_slopes, (dealt,)))(dealt)
        for name, (shares, slopes) in found.items():
            shares, slopes = (np.stack([np.asarray(v) for v in x.values]) for x in (shares, slopes))
            np.testing.assert_allclose(shares.sum(), whole[name][0], rtol=1e-5, err_msg=name)
            np.testing.assert_allclose(np.concatenate(slopes), whole[name][1], rtol=1e-4, atol=1e-7, err_msg=name)
        """
    )


@pytest.mark.keras3
def test_jax_computes_the_same():
    pytest.importorskip("jax")
    run_fresh(
        """
        import numpy as np
        from losses.loss_cases import CASES, RANKING
        for name, case in CASES.items():
            y, p = case.labels.astype("float64"), case.predictions.astype("float64")
            expected = case.reference(y, p[:, 0] if p.shape[1] == 1 else p).mean()
            np.testing.assert_allclose(case.task.masked_loss(case.given, case.predictions), expected, rtol=1e-5, err_msg=name)
        for name, (case, reference) in RANKING.items():
            expected = reference(case, case.labels.astype("float64"), np.ones(len(case.labels)))
            np.testing.assert_allclose(case.task.masked_loss(case.given, case.predictions), expected, rtol=1e-5, err_msg=name)
        """,
        env={"KERAS_BACKEND": "jax"},
    )
