"""compare(): paired gains over twins, runs that are kept, runs that fail, and what is refused before anything is trained."""

import importlib
import json
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from analysis.comparing.small_study import PARTS, SCHEMA, SMALL, batches, plain, table, wide
from harness import begin_fresh
from sklearn.metrics import log_loss, roc_auc_score

import tfmtl
from tfmtl.analysis import Contestant, compare
from tfmtl.analysis.comparing.entry import TWINS
from tfmtl.analysis.comparing.run import Run
from tfmtl.data import Preprocessor
from tfmtl.keras_host import keras
from tfmtl.schema import Numeric, Schema, Task
from tfmtl.training import evaluate
from tfmtl.training.balancing import RLW
from tfmtl.training.held_rows import HeldRows

MODULE = importlib.import_module("tfmtl.analysis.comparing.compare")
BOTH = {"plain": plain, "wide": wide}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def report(folder):
    return compare(SCHEMA, BOTH, *PARTS, seeds=2, group="user", folder=folder, **SMALL)


def test_the_gain_is_the_mean_of_paired_differences(report):
    for name in BOTH:
        for task in SCHEMA.task_names:
            ours, twins = report.figures[name][task]["auc"], report.figures[TWINS][task]["auc"]
            gain = report.gain(name, task)
            assert gain.by_seed == {seed: ours[seed] - twins[seed] for seed in (1, 2)}
            assert gain.mean == pytest.approx(np.mean(list(gain.by_seed.values())))
            low, high = gain.over_seeds
            assert low < gain.mean < high and (low + high) / 2 == pytest.approx(gain.mean)
            assert gain.over_rows[0] < gain.mean < gain.over_rows[1]


def test_twins_are_judged_on_the_rows_of_their_sample_space(report):
    clicked = PARTS[2]["click"].sum()
    assert all(report.figures[name]["sale"]["rows"] == {1: clicked, 2: clicked} for name in (TWINS, *BOTH))
    assert all(report.figures[name]["click"]["rows"] == {1: 170, 2: 170} for name in (TWINS, *BOTH))


def test_figures_are_those_of_the_kept_predictions(report, folder):
    test = HeldRows(batches(PARTS[2]), ["a", "b"], SCHEMA.tasks)
    files = [json.loads(file.read_text()) | {"file": file} for file in folder.glob("wide-*.json")]
    assert len(files) == 2
    for held in files:
        predictions = dict(zip(held["tasks"], np.load(held["file"].with_suffix(".npy")), strict=True))
        seed = held["run"]["seed"]
        for task in SCHEMA.task_names:
            known = ~np.isnan(test.labels[task])
            labels, scores = test.labels[task][known], predictions[task][known].astype("float64")
            figures = report.figures["wide"][task]
            assert figures["auc"][seed] == pytest.approx(roc_auc_score(labels, scores))
            assert figures["logloss"][seed] == pytest.approx(log_loss(labels, scores), abs=1e-6)
            assert figures["calibration"][seed] == pytest.approx(scores.mean() / labels.mean(), abs=1e-5)


def test_the_best_epoch_on_the_validation_rows_predicts(folder):
    for file in folder.glob("*.json"):
        run = json.loads(file.read_text())["run"]
        scores = [epoch["val_score"] for epoch in run["curve"]]
        assert run["score"] == max(scores) and run["epoch"] == 1 + scores.index(max(scores))


def test_a_run_is_what_fit_makes_of_it_by_hand(report):
    """Seed, rows, order, loss and epoch: nothing else goes into a run."""
    keras.utils.set_random_seed(2)
    model = wide(SCHEMA)
    made = tfmtl.objectives(SCHEMA.tasks, metrics={task: [] for task in SCHEMA.task_names})
    model.compile(tfmtl.LazyAdam(0.03), loss=made["loss"], loss_weights=made["loss_weights"])
    train = HeldRows(batches(PARTS[0]), ["a", "b"], SCHEMA.tasks).batches(64, ["a", "b"], SCHEMA.task_names, seed=2)
    found = {}
    for _ in range(SMALL["epochs"]):
        model.fit(train, verbose=0)
        valid, test = (evaluate(model, batches(part), SCHEMA) for part in PARTS[1:])
        found[np.mean([valid[f"{task}_auc"] for task in SCHEMA.task_names])] = test
    best = found[max(found)]
    for task in SCHEMA.task_names:
        assert report.figures["wide"][task]["auc"][2] == pytest.approx(best[f"{task}_auc"], abs=2e-3)


def test_costs_and_curves(report):
    of_twins, of_wide = report.costs[TWINS], report.costs["wide"]
    assert of_wide.parameters == 8 * 3 + 2 * 9 and of_twins.parameters == 2 * (4 * 3 + 5)
    assert (
        of_wide.step_seconds > 0 and set(of_twins.epochs) == set(SCHEMA.task_names) and set(of_wide.epochs) == {"all"}
    )
    for name in (TWINS, "wide"):
        curves = report.curves[name]["click"]
        assert len(curves) == 2 and all(len(curve) == SMALL["epochs"] for curve in curves)
        assert {"loss", "val_auc", "val_logloss"} <= set(curves[0][0])


def test_a_killed_comparison_goes_on_where_it_stopped(report, tmp_path, capsys):
    """kill -9 in the second epoch of the fourth run: three are kept, the rest is trained, the figures are the same."""
    script = """
        import os, signal, sys
        from analysis.comparing.small_study import PARTS, SCHEMA, SMALL, plain, wide
        from tfmtl.analysis import compare
        from tfmtl.analysis.comparing.progress import Progress

        count, epoch = 0, Progress.epoch
        def killing(self, number):
            global count
            count += 1
            if count == 8:
                os.kill(os.getpid(), signal.SIGKILL)
            epoch(self, number)
        Progress.epoch = killing
        compare(SCHEMA, {"plain": plain, "wide": wide}, *PARTS, seeds=2, group="user", folder=sys.argv[1], **SMALL)
    """
    assert begin_fresh(script, tmp_path).result() == -9
    assert len(list(tmp_path.glob("*.json"))) == 3 and len(list(tmp_path.glob(".*"))) == 0
    resumed = compare(SCHEMA, BOTH, *PARTS, seeds=2, group="user", folder=tmp_path, **{**SMALL, "verbose": True})
    said = capsys.readouterr().out
    assert said.count("kept from before") == 3 and said.count("on valid in epoch") == 5
    assert resumed.figures == report.figures and resumed.gains == report.gains


@pytest.fixture
def trained(monkeypatch):
    """Runs are made up instead of trained, the greater the learning rate the better; the list says which."""
    done = []

    def make_up(entry, seed, rate, budget, parts, on_epoch):
        done.append((entry.label, seed, rate))
        rng = np.random.default_rng(seed)
        predictions = {task: rng.random(len(parts["test"])).astype("float32") for task in entry.schema.task_names}
        return Run(seed, rate, 1, 0.5 + rate, [], 10, 0.1, 1.0, predictions)

    monkeypatch.setattr(MODULE, "run", make_up)
    return done


def test_shuffled_batches_are_the_same_data_and_nothing_is_trained_twice(trained, tmp_path):
    """Neither the order of the rows nor the confidence nor the groups are part of a run."""
    first = compare(SCHEMA, BOTH, *PARTS, seeds=2, folder=tmp_path, **SMALL)
    assert len(trained) == 8
    shuffled = [batches(part).unbatch().shuffle(200).batch(16) for part in PARTS]
    again = compare(SCHEMA, BOTH, *shuffled, seeds=2, folder=tmp_path, confidence=0.8, group="user", **SMALL)
    assert len(trained) == 8
    assert again.figures["wide"]["sale"]["auc"] == first.figures["wide"]["sale"]["auc"]
    compare(SCHEMA, {**BOTH, "third": plain}, *PARTS, seeds=3, folder=tmp_path, **SMALL)
    assert len(trained) == 8 + 2 + 5


@pytest.mark.parametrize(
    "changed",
    [
        {"epochs": 1},
        {"learning_rates": (0.02,)},
        {"normalize": True},
        {"batch_size": 50},
        {"patience": 1},
        {"optimizer": keras.optimizers.SGD},
        {"optimizer": lambda rate: tfmtl.LazyAdam(rate, beta_1=0.8)},
        {"train": PARTS[2]},
        {"schema": Schema(SCHEMA.features, [replace(task, weight=2.0) for task in SCHEMA.tasks])},
        {"contestants": {"plain": lambda schema: plain(schema, activation="relu")}},
        {"contestants": {"plain": Contestant(plain, balancer=RLW()), "other": plain}, "twin": wide},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_changed_setting_is_not_the_old_run(changed, trained, tmp_path):
    given = {"schema": SCHEMA, "contestants": {"plain": plain}, **SMALL, "seeds": 1, "folder": tmp_path}
    given |= dict(zip(("train", "valid", "test"), PARTS, strict=True))
    compare(**given)
    trained.clear()
    compare(**{**given, **changed})
    assert "plain" in [label for label, _, _ in trained] and len(trained) >= 3


def test_a_file_that_cannot_be_read_is_no_run(trained, tmp_path):
    settings = {**SMALL, "seeds": 1, "folder": tmp_path}
    compare(SCHEMA, {"plain": plain}, *PARTS, **settings)
    broken, without = sorted(tmp_path.glob("*.json"))[:2]
    broken.write_text("{")
    without.with_suffix(".npy").unlink()
    compare(SCHEMA, {"plain": plain}, *PARTS, **settings)
    assert len(trained) == 3 + 2


def test_each_contestant_has_its_own_grid_and_chooses_with_the_first_seed(trained):
    contestants = {"grid": Contestant(plain, learning_rates=(0.1, 0.3, 0.2)), "one": plain}
    found = compare(SCHEMA, contestants, *PARTS, twin=plain, seeds=[3, 4], **SMALL)
    of_grid = [(seed, rate) for label, seed, rate in trained if label == "grid"]
    assert of_grid == [(3, 0.1), (3, 0.3), (3, 0.2), (4, 0.3)]
    assert found.costs["grid"].learning_rates == {"all": 0.3} and found.costs["one"].learning_rates == {"all": 0.03}
    assert found.costs[TWINS].parameters == 20 and found.costs[TWINS].step_seconds == pytest.approx(0.2)


def test_groups_without_pairs_have_no_auc_and_that_is_said(trained):
    alone = [{**part, "user": np.arange(len(part["user"]))} for part in PARTS]
    found = compare(SCHEMA, {"plain": plain}, *alone, seeds=2, group="user", **SMALL)
    assert np.isnan(found.mean("plain", "click", "gauc"))
    assert "No value of 'user' has rows of both classes of 'click' in the test rows" in str(found)


class _Explodes(keras.layers.Layer):
    """Passes on what it gets until it is called in training."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    def call(self, x, training=False):
        if self.how == "raises" and training:
            raise RuntimeError("out of cheese")
        return x * float("nan") if self.how == "nan" and training else x


def _with(how):
    def make(schema):
        a = keras.Input((), name="a")
        x = _Explodes(how)(keras.layers.Dense(2)(keras.layers.Reshape((1,))(a)))
        return keras.Model(
            {"a": a}, {task: keras.layers.Dense(1, "sigmoid", name=task)(x) for task in schema.task_names}
        )

    return make


_broken = _with("raises")


def _with_another_output(schema):
    """What a model predicts beside the tasks is left alone."""
    model = plain(schema)
    return keras.Model(
        model.input, {**model.output, "side": keras.layers.Dense(3, name="side")(model.layers[-1].output)}
    )


def test_a_run_that_fails_is_named_and_the_others_go_on(tmp_path):
    contestants = {
        "nan": _with("nan"),
        "raises": _with("raises"),
        "good": Contestant(_with_another_output, balancer=RLW()),
    }
    found = compare(SCHEMA, contestants, *PARTS, twin=plain, seeds=1, folder=tmp_path, **SMALL)
    reasons = {failure.run: failure.reason for failure in found.failures}
    assert set(reasons) == {"nan", "raises"}
    assert reasons["nan"] == "the loss became nan in epoch 1, step 1" and "out of cheese" in reasons["raises"]
    assert found.gain("nan", "click").verdict == "unknown" and np.isnan(found.gain("nan", "click").mean)
    assert found.gain("good", "click").by_seed and found.gain("good", "click").over_seeds is None
    assert "Ended early: nan, seed 1" in str(found) and "With one seed there is no interval over seeds" in str(found)
    assert not list(tmp_path.glob("nan-*"))
    json.loads(found.to_json())
    found.to_html(tmp_path / "report.html")


def test_regressions_sample_weights_and_raw_batches():
    """A regression is judged by what it explains; rows of weight 0 count nowhere."""
    schema = Schema(
        [Numeric("a", mean=(0.5,), std=(2.0,)), Numeric("b", transform=None)],
        [Task("click"), Task("spend", "regression")],
    )

    def raw(part, noise):
        columns = table(120, part)
        y = {"click": columns["click"], "spend": 3 * columns["a"] + 1}
        weights = np.ones(120, "float32")
        weights[:40] = 0
        y["spend"][:40] += noise
        x = {name: columns[name] for name in ("a", "b", "user")}
        return tf.data.Dataset.from_tensor_slices((x, y, {"spend": weights, "click": weights})).batch(50)

    options = {
        **SMALL,
        "epochs": 10,
        "learning_rates": (0.1,),
        "seeds": 1,
        "preprocessor": Preprocessor(schema.features),
    }
    plainly, noisy = (
        compare(schema, {"plain": plain}, *(raw(part, noise) for part in (1, 2, 3)), twin=_broken, **options)
        for noise in (0, 50)
    )
    figures = plainly.figures["plain"]["spend"]
    assert set(figures) == {"rows", "rmse", "mse", "r2"} and figures["r2"][1] > 0.5
    # The rows come in another order, so other ones meet in a batch.
    assert noisy.figures["plain"]["spend"]["r2"][1] == pytest.approx(figures["r2"][1], abs=0.2)


def _listed(schema):
    model = plain(schema)
    return keras.Model(model.input, list(model.output.values()))


def _without(columns, name):
    return {column: values for column, values in columns.items() if column != name}


NONE = {**PARTS[1], "sale": np.full(150, np.nan, "float32")}
ONES = {**PARTS[1], "click": np.ones(150, "float32")}
ONE_TASK = SCHEMA.with_tasks(["click"])

REFUSED = {
    "one task, its own twin": (
        {"schema": ONE_TASK},
        "one task, 'click', so the only contestant is its own twin: give `twin`",
    ),
    "no label": ({"valid": NONE}, "Task 'sale' has no label in `valid`, 150 rows"),
    "one class": ({"test": {**PARTS[1], **ONES}}, r"All 150 labels of task 'click' in `test` are 1: there is nothing"),
    "no label column": ({"train": _without(PARTS[0], "sale")}, "sale"),
    "unknown group": ({"group": "city"}, "city"),
    "unknown group of tf.data": (
        {"test": batches(PARTS[2]), "group": "city"},
        "`group` must be a column of x in `test`.*city",
    ),
    "list outputs": ({"contestants": {"bad": _listed}}, "bad.* must return a dict.*Received: outputs of type list"),
    "another task": (
        {"contestants": {"bad": lambda schema: plain(ONE_TASK)}, "twin": plain},
        r"bad does not predict \['sale'\]",
    ),
    "no function": ({"contestants": {"bad": plain(SCHEMA)}}, "must be a function, schema -> keras.Model"),
    "no model": (
        {"contestants": {"bad": lambda schema: 3}, "twin": plain},
        "bad must be a functional Keras model.*Received: int",
    ),
    "no contestant": ({"contestants": {}}, "one or more models by name"),
    "a name of ours": ({"contestants": {TWINS: plain}}, "may be called"),
    "no twin for one": (
        {"contestants": {"bad": lambda schema: plain(SCHEMA) if len(schema.tasks) > 1 else 1 / 0}},
        "twin of 'sale'.*Give `twin`",
    ),
    "an optimizer for all": ({"optimizer": keras.optimizers.Adam(1e-3)}, "must make an optimizer"),
    "unknown weight": (
        {"contestants": {"bad": Contestant(plain, weights={"x": 1.0})}},
        "No such task.*known: .*'sale'",
    ),
    "never ends": ({"train": batches(PARTS[0]).repeat()}, "`train` never ends"),
    "no x and y": ({"test": tf.data.Dataset.range(3)}, r"`test` must give \(x, y\)"),
    "no column": (
        {"train": batches(PARTS[0]).map(lambda x, y: ({"user": x["user"]}, y))},
        r"models read columns that `train` lacks: \['a', 'b'\]",
    ),
    "empty": ({"train": batches(PARTS[0]).take(0)}, "`train` gave no batch"),
    "seeds": ({"seeds": 0}, "`seeds` must be an integer >= 1"),
    "seeds twice": ({"seeds": (1, 1)}, "`seeds` must be distinct"),
    "epochs": ({"epochs": 0}, "`epochs` must be an integer >= 1"),
    "confidence": ({"confidence": 95}, r"`confidence` must be in \(0, 1\)"),
    "rates": ({"learning_rates": (0.0,)}, "`learning_rates` must be positive"),
    "never adapted": ({"schema": Schema([Numeric("a")], SCHEMA.tasks), "train": batches(PARTS[0])}, "never adapted"),
}


@pytest.mark.parametrize(("changed", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_compared_is_said_before_anything_is_trained(changed, message):
    given = {"schema": SCHEMA, "contestants": {"plain": plain}, "twin": None, **SMALL}
    given |= dict(zip(("train", "valid", "test"), PARTS, strict=True))
    with pytest.raises(ValueError, match=message):
        compare(**{**given, **changed})


def test_the_contract_is_asked_of_each_contestant():
    with pytest.raises(ValueError, match="must be a function"):
        Contestant("ple")
    with pytest.raises(ValueError, match="`balancer` must be a balancer"):
        Contestant(plain, balancer="CAGrad")
    with pytest.raises(ValueError, match="`learning_rates` must be positive"):
        Contestant(plain, learning_rates=(-1.0,))


def test_only_on_tensorflow(monkeypatch):
    monkeypatch.setattr(MODULE, "BACKEND", "jax")
    with pytest.raises(ValueError, match=r"`compare` needs the TensorFlow backend.*backend='jax'"):
        compare(SCHEMA, {"plain": plain}, *PARTS)
