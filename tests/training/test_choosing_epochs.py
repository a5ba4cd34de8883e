"""The epoch that suits all tasks, and the front of epochs: by rule, on disk, and through a crash."""

import json

import numpy as np
import pytest
from training.models import SCHEMA, TASKS, batches, rows, small_model

from tfmtl.keras_host import keras
from tfmtl.training import BestCheckpoint, ParetoCheckpoints, Validation, objectives, pareto_front

CLICK, SALE = "val_click_auc", "val_sale_auc"


class Scripted(keras.callbacks.Callback):
    """Puts figures into the logs, and the number of the epoch into the weights."""

    def __init__(self, figures, crash=None):
        super().__init__()
        self.figures, self.crash = figures, crash

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.crash:
            raise KeyboardInterrupt
        self.model.set_weights([np.full(w.shape, epoch + 1.0) for w in self.model.get_weights()])
        logs.update(self.figures[epoch])


def tiny():
    column = keras.Input((1,))
    model = keras.Model(column, keras.layers.Dense(1)(column))
    model.compile("sgd", "mse")
    return model


def run(figures, *callbacks, model=None, crash=None, **options):
    """The model after an epoch for each entry of `figures`."""
    model = model or tiny()
    data = np.zeros((2, 1), "float32")
    model.fit(data, data, epochs=len(figures), verbose=0, callbacks=[Scripted(figures, crash), *callbacks], **options)
    return model


def epoch_of(model):
    """Whose weights a model has, from 0."""
    return int(model.get_weights()[0].flat[0]) - 1


def pairs(*values):
    return [{CLICK: click, SALE: sale} for click, sale in values]


@pytest.mark.parametrize(
    ("figures", "kept"),
    [
        (pairs((0.70, 0.60), (0.72, 0.60), (0.71, 0.65)), 1),  # the main task is best
        (pairs((0.70, 0.60), (0.75, 0.58), (0.72, 0.595)), 2),  # ... while the other falls no further than 0.01
        (pairs((0.70, 0.60), (0.71, 0.595), (0.72, 0.589)), 1),  # never 0.01 below what a kept epoch had
        (pairs((0.70, 0.60), (0.69, 0.90), (0.71, 0.60)), 2),  # an epoch that was not kept binds nobody
        (pairs((0.70, 0.60), (0.70, 0.70)), 0),  # equal is not better
        (pairs((np.nan, 0.60), (0.60, 0.50), (0.70, np.nan)), 1),  # no number is no figure
    ],
)
def test_the_rule(figures, kept):
    keep = BestCheckpoint(CLICK, [SALE], tolerance=0.01)
    model = run(figures, keep)
    assert keep.best_epoch == kept == epoch_of(model) and keep.best == figures[kept]


def test_losses_go_down_and_tolerances_go_by_name():
    names = ("val_price_rmse", CLICK, "val_sale_logloss")
    figures = [
        dict(zip(names, values, strict=True)) for values in ((2.0, 0.7, 0.5), (1.5, 0.69, 0.5), (1.8, 0.7, 0.55))
    ]
    keep = BestCheckpoint(names[0], names[1:], tolerance={CLICK: 0.001, "val_sale_logloss": 0.1})
    run(figures, keep)
    assert keep.best_epoch == 2


@pytest.mark.parametrize("name", ["best.keras", "best.weights.h5"])
def test_files_and_a_run_that_is_interrupted(tmp_path, name):
    """The second process goes on from what the first one kept: its weights, and what it holds the others to."""
    figures = pairs((0.70, 0.60), (0.75, 0.595), (0.74, 0.70), (0.76, 0.58), (0.751, 0.596))
    path, backup = tmp_path / name, tmp_path / "backup"

    def callbacks():
        return [keras.callbacks.BackupAndRestore(backup), BestCheckpoint(CLICK, [SALE], tolerance=0.01, filepath=path)]

    with pytest.raises(KeyboardInterrupt):
        run(figures, *callbacks(), crash=3)
    assert json.loads((tmp_path / f"{name}.json").read_text())["epoch"] == 1
    again = callbacks()
    model = run(figures[:4], *again)
    assert again[1].best_epoch == 1 == epoch_of(model)  # from the file
    again = callbacks()
    model = run(figures, again[1], initial_epoch=4)
    assert again[1].best_epoch == 4 == epoch_of(model)
    fresh = BestCheckpoint(CLICK, [SALE], filepath=path)  # a run that begins anew does not look back
    run(pairs((0.5, 0.5)), fresh)
    assert fresh.best_epoch == 0 and sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == [name, f"{name}.json"]


def test_patience_counts_evaluations_and_weights_may_stay():
    figures = [pairs((0.70, 0.6))[0], {}, pairs((0.69, 0.6))[0], {}, pairs((0.68, 0.6))[0], {}, {}]
    keep = BestCheckpoint(CLICK, [SALE], patience=2, restore_best_weights=False)
    assert epoch_of(run(figures, keep)) == 4 and keep.best_epoch == 0


def test_nothing_kept_is_said():
    with pytest.warns(UserWarning, match="No epoch was kept"):
        run([{}, {}], BestCheckpoint(CLICK, [SALE]))
    with pytest.raises(ValueError, match=r"lack \['val_sale_auc'\].*`Validation` stands before"):
        run([{CLICK: 0.7}], BestCheckpoint(CLICK, [SALE]))


def test_beside_validation():
    x, y = rows(64)
    model = small_model()
    model.compile(keras.optimizers.Adam(0.05), **objectives(TASKS, metrics={task.name: [] for task in TASKS}))
    data = batches(x, y, 32)
    keep = BestCheckpoint(CLICK, [SALE], tolerance=1.0)
    history = model.fit(data, epochs=4, verbose=0, callbacks=[Validation(data, SCHEMA, figures=["auc"]), keep]).history
    assert keep.best[CLICK] == max(history[CLICK])


def dominated(table, place):
    return any((other >= table[place]).all() and (other > table[place]).any() for other in table)


def test_the_front_is_exact():
    random = np.random.default_rng(0)
    for columns in (1, 2, 3):
        table = random.integers(0, 5, (60, columns)).astype(float)  # with ties and points that are there twice
        table[7] = np.nan
        known = np.delete(table, 7, axis=0)
        wanted = [i for i in range(60) if i != 7 and not dominated(known, i - (i > 7))]
        assert pareto_front(table) == wanted
        assert pareto_front(-table, maximize=False) == wanted
    assert pareto_front([[1, 1], [1, 1], [0, 2]], maximize=[True, False]) == [0, 1]
    assert pareto_front([]) == [] and pareto_front(np.full((2, 2), np.nan)) == []
    named = [{"auc": 0.7, "loss": 0.5}, {"loss": 0.4, "auc": 0.7}]
    assert pareto_front(named, maximize={"auc": True, "loss": False}) == [1]


def test_files_of_the_front(tmp_path):
    figures = pairs((0.70, 0.60), (0.69, 0.65), (0.68, 0.64), (0.71, 0.60), (0.69, 0.65), (0.75, 0.70))
    keep = ParetoCheckpoints([CLICK, SALE], tmp_path, save_weights_only=True)
    run(figures[:3], keep)
    assert keep.front == {0: figures[0], 1: figures[1]}
    resumed = ParetoCheckpoints([CLICK, SALE], tmp_path, save_weights_only=True)
    run(figures[:5], resumed, initial_epoch=3)
    assert sorted(resumed.front) == [1, 3, 4]  # 3 is better than 0, 4 equals 1
    files = sorted(path.name for path in tmp_path.glob("*.h5"))
    assert (
        files == [resumed.path_of(epoch).name for epoch in (1, 3, 4)] == [f"epoch_000{n}.weights.h5" for n in (2, 4, 5)]
    )
    model = tiny()
    model.load_weights(resumed.path_of(3))
    assert epoch_of(model) == 3
    last = ParetoCheckpoints([CLICK, SALE], tmp_path, save_weights_only=True)
    run(figures, last, initial_epoch=5)
    assert list(last.front) == [5] and [path.name for path in tmp_path.glob("*.h5")] == ["epoch_0006.weights.h5"]


def test_models_of_the_front_load(tmp_path):
    keep = ParetoCheckpoints([CLICK, SALE], tmp_path)
    run(pairs((0.7, 0.6)), keep)
    assert epoch_of(keras.models.load_model(keep.path_of(0))) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BestCheckpoint(CLICK, [CLICK]), "must be distinct names"),
        (lambda: BestCheckpoint(CLICK, [SALE], tolerance=-1), "`tolerance` must be >= 0"),
        (
            lambda: BestCheckpoint(CLICK, [SALE], tolerance={CLICK: 1}),
            "`tolerance` must be >= 0, one for all or one for each",
        ),
        (lambda: BestCheckpoint("val_profit", [SALE]), r"not known by its name: give mode=\{'val_profit': 'max'\}"),
        (lambda: BestCheckpoint(CLICK, [SALE], mode="up"), "`mode` must be 'max' or 'min'"),
        (lambda: BestCheckpoint(CLICK, [SALE], filepath="best.ckpt"), "must end in '.keras'"),
        (lambda: BestCheckpoint(CLICK, [SALE], patience=0), "`patience` must be an integer >= 1"),
        (lambda: pareto_front([1, 2]), r"`figures` must be \(N, M\)"),
        (lambda: pareto_front([[1, 2]], maximize=[True]), "one for each of 2 figures"),
        (lambda: pareto_front([{"a": 1}, {"b": 1}]), "dicts of the same names"),
        (lambda: pareto_front([{"a": 1}], maximize={"b": True}), "`maximize` by name"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(ValueError, match=message):
        make()
