"""What the studies of DTRN and of STEM share: models that are compiled once and trained anew for each seed."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import json
import sys
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

import tfmtl
from tfmtl.keras_host import keras
from tfmtl.metrics import exact
from tfmtl.schema import Schema
from tfmtl.training.objectives import objectives

# The models are small: more threads would wait for each other.
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)

Values = dict[str, np.ndarray]
Part = tuple[Values, Values]
"""What a model reads, and the labels."""

Parts = Mapping[str, Part]
"""Rows to `train` on, to choose the epoch with (`valid`), and to `test` on."""

Maker = Callable[[Schema], keras.Model]


def aucs(predictions: Values, y: Values) -> dict[str, float]:
    """The AUC of every task over its labelled rows."""
    labelled = {task: ~np.isnan(labels) for task, labels in y.items()}
    return {task: round(exact.auc(y[task][rows], predictions[task][rows]), 5) for task, rows in labelled.items()}


class Contestant:
    """One model, traced once and trained from new weights for each seed."""

    def __init__(self, make: Maker, schema: Schema, options: Namespace):
        self.make, self.schema, self.options = make, schema, options
        self.model = make(schema)
        rate = keras.optimizers.schedules.CosineDecay(options.rate, options.epochs * -(-options.rows // options.batch))
        loss = objectives(schema.tasks)["loss"]
        self.model.compile(keras.optimizers.Adam(rate), loss=loss, steps_per_execution=8, jit_compile=False)
        self.model.optimizer.build(self.model.trainable_variables)
        self.untrained = [variable.numpy() for variable in self.model.optimizer.variables]

    def run(self, parts: Parts, seed: int) -> tuple[dict[str, Any], Values]:
        """The run, and the predictions on the test rows after the epoch with the best mean AUC on the validation rows."""
        keras.utils.set_random_seed(seed)
        self.model.set_weights(self.make(self.schema).get_weights())
        for variable, value in zip(self.model.optimizer.variables, self.untrained, strict=True):
            variable.assign(value)
        started, curve, best, chosen = time.process_time(), [], -1.0, {}
        for _ in range(self.options.epochs):
            self.model.fit(*parts["train"], batch_size=self.options.batch, verbose=0)
            curve.append(aucs(self._predict(parts["valid"][0]), parts["valid"][1]))
            mean = float(np.mean(list(curve[-1].values())))
            if mean > best:
                best, chosen = mean, self._predict(parts["test"][0])
        seconds = round(time.process_time() - started, 1)
        return {"parameters": self.model.count_params(), "seconds": seconds, "valid": curve}, chosen

    def _predict(self, x: Values) -> Values:
        predicted = self.model.predict(x, batch_size=2500, verbose=0)
        return {task: values.reshape(-1) for task, values in predicted.items()}


def compare(
    makers: Mapping[str, Maker],
    options: Namespace,
    data: Callable[[int], tuple[Schema, Parts, Callable[[Values], dict[str, float]], dict[str, float]]],
) -> dict[str, Any]:
    """Trains every contestant on the data of every seed; runs what `--out` does not hold yet, and keeps each run there.

    `data` gives for a seed the schema, the parts, what to report of test predictions, and the figures of the truth.
    """
    settings = {name: value for name, value in vars(options).items() if name not in ("out", "models", "seeds", "table")}
    versions = {"tfmtl": tfmtl.__version__, "keras": keras.__version__, "tensorflow": tf.__version__}
    found: dict[str, Any] = {"versions": versions, "settings": settings, "truth": [], "runs": {}}
    if options.out.exists():
        found = json.loads(options.out.read_text())
        if found["settings"] != settings:
            raise SystemExit(f"{options.out} holds another study: {found['settings']}")
    contestants: dict[str, Contestant] = {}
    for seed in range(options.seeds):
        missing = [name for name in options.models if len(found["runs"].setdefault(name, [])) == seed]
        if not missing:
            continue
        schema, parts, report, truth = data(seed)
        found["truth"][seed : seed + 1] = [truth]
        for name in missing:
            if name not in contestants:
                contestants[name] = Contestant(makers[name], schema, options)
            run, predictions = contestants[name].run(parts, seed)
            found["runs"][name].append({**run, "test": report(predictions)})
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(json.dumps(found, indent=1) + "\n")
            told = ", ".join(f"{task} {auc:.4f}" for task, auc in found["runs"][name][-1]["test"].items())
            sys.stdout.write(f"seed {seed}, {name}, {run['seconds']:.0f} s: {told}\n")
            sys.stdout.flush()
    return found


def spread(values: Any, sign: str = "") -> str:
    """Mean and standard error over the seeds."""
    values = np.asarray(values)
    error = f" ± {values.std(ddof=1) / len(values) ** 0.5:.4f}" if len(values) > 1 else ""
    return f"{values.mean():{sign}.4f}{error}"


def parser(description: str, makers: Mapping[str, Maker], **defaults: Any) -> ArgumentParser:
    """The options that every study has."""
    made = ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)
    made.add_argument("--models", nargs="+", choices=list(makers), default=list(makers), metavar="NAME")
    for name, value in defaults.items():
        made.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    made.add_argument("--table", action="store_true", help="only print what --out holds")
    return made


def load(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())
