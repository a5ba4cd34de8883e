"""A search for the settings of a model of several tasks with Optuna: one objective, with pruning, and then two.

    pip install 'tfmtl[tune]'
    python examples/search_optuna.py                                    # some minutes on two cores
    python examples/search_optuna.py --rows 2000 --trials 4 --epochs 2

The data are made up (`tfmtl.data.synthetic.multi_behavior`): clicks, likes and purchases that each go by another history. On
your own, `trial_model` and `fit_once` are what changes. The first search looks for the best mean AUC and gives up on trials
that are below the median of the others' at the same epoch. The second asks for clicks *and* purchases and ends with the trials of
which none is better than another in both: what a click is worth beside a purchase can be decided afterwards.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import optuna

import tfmtl
from tfmtl.data import synthetic
from tfmtl.keras_host import keras
from tfmtl.training import BestCheckpoint, pareto_front

BATCH = 256
FIGURES = ("val_click_auc", "val_like_auc", "val_buy_auc")


def main() -> None:
    options = _options()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    train, valid = synthetic.multi_behavior(options.rows).split(int(options.rows * 0.8))
    schema = tfmtl.adapt(train.schema, tfmtl.read(train.rows, train.schema, batch_size=BATCH))
    parts = [tfmtl.read(part.rows, schema, batch_size=BATCH, encode=True).cache() for part in (train, valid)]
    parts[0] = parts[0].shuffle(64, seed=1)

    # The four lines of a search; the objective is a model of a preset, trained.
    sampler = optuna.samplers.TPESampler(seed=options.seed)
    study = optuna.create_study(
        direction="maximize", sampler=sampler, pruner=optuna.pruners.MedianPruner(n_startup_trials=2)
    )
    study.optimize(lambda trial: mean_auc(fit_once(trial, schema, parts, options.epochs)), n_trials=options.trials)
    print(f"best mean AUC {study.best_value:.4f} with {study.best_params}")
    pruned = sum(trial.state is optuna.trial.TrialState.PRUNED for trial in study.trials)
    print(f"{pruned} of {len(study.trials)} trials were given up early")

    # Two objectives: Optuna prunes no such study, so every trial runs to its end.
    both = optuna.create_study(
        directions=["maximize", "maximize"], sampler=optuna.samplers.NSGAIISampler(seed=options.seed)
    )
    both.optimize(lambda trial: click_and_buy(fit_once(trial, schema, parts, options.epochs)), n_trials=options.trials)
    front = [both.trials[place] for place in pareto_front([trial.values for trial in both.trials])]
    for trial in sorted(front, key=lambda trial: trial.values, reverse=True):
        print(f"trial {trial.number}: click {trial.values[0]:.4f}, buy {trial.values[1]:.4f} with {trial.params}")


def trial_model(trial: optuna.Trial, schema: tfmtl.Schema) -> keras.Model:
    """A preset with the settings of this trial, compiled."""
    model = tfmtl.models.ple(
        schema,
        units=(trial.suggest_categorical("units", [16, 32, 64]),),
        num_task_experts=trial.suggest_int("task_experts", 1, 2),
        num_shared_experts=trial.suggest_int("shared_experts", 1, 3),
        tower_units=(16,),
        tower_dropout=trial.suggest_float("tower_dropout", 0.0, 0.4),
    )
    rate = trial.suggest_float("learning_rate", 1e-3, 2e-2, log=True)
    model.compile(
        keras.optimizers.Adam(rate),
        **tfmtl.objectives(
            schema.tasks,
            normalize=trial.suggest_categorical("normalize", [False, True]),
            metrics={task: [] for task in schema.task_names},  # `Validation` has exact ones
        ),
    )
    return model


def fit_once(trial: optuna.Trial, schema: tfmtl.Schema, parts: list, epochs: int) -> dict[str, float]:
    """The figures of the epoch that suits all tasks, the purchase first."""
    keras.utils.set_random_seed(1)
    model = trial_model(trial, schema)
    keep = BestCheckpoint("val_buy_auc", ["val_click_auc", "val_like_auc"], tolerance=0.005, restore_best_weights=False)
    callbacks = [tfmtl.Validation(parts[1], schema, figures=["auc"]), keep]
    if len(trial.study.directions) == 1:
        callbacks.append(Pruning(trial))
    model.fit(parts[0], epochs=epochs, callbacks=callbacks, verbose=0)
    return keep.best


def mean_auc(figures: dict[str, float]) -> float:
    return sum(figures[name] for name in FIGURES) / len(FIGURES)


def click_and_buy(figures: dict[str, float]) -> tuple[float, float]:
    return figures["val_click_auc"], figures["val_buy_auc"]


class Pruning(keras.callbacks.Callback):
    """Tells the study how each epoch went, and ends a trial that it gives up on."""

    def __init__(self, trial: optuna.Trial):
        super().__init__()
        self.trial = trial

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self.trial.report(mean_auc(logs or {}), epoch)
        if self.trial.should_prune():
            raise optuna.TrialPruned


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--trials", type=int, default=20, help="of either search")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
