"""What sharing gains on two tasks as they grow alike: figure 7 of the PLE paper at a size that one core can run.

    python benchmarks/ple_synthetic.py                          # about 10 minutes on one core; writes --out, and a .png beside it
    python benchmarks/ple_synthetic.py --seeds 1 --rows 20000
    python benchmarks/ple_synthetic.py --plot                   # draws again what the JSON holds
    python benchmarks/ple_synthetic.py --d 512 --rows 1400000 --widths 256,128,64 --rates 1e-3,3e-3 --epochs 1 --correlations 0,0.9 \
        --out docs/studies/data/ple_paper_size.json             # at the paper's size: about an hour on one core

The rows are those of `tfmtl.data.synthetic.correlated_regression`. Gain is the test MSE of the single-task model minus that of
the multi-task model: above zero it is better. Every model is as deep as the others, `--widths` and one output; CGC and PLE
own one expert a task and one shared expert a level, MMoE three, as in the paper's own comparison of experts. `PLE alone` is
PLE once for each task, with all of its experts and nothing shared: what its gates and width are worth without the other task.
Where `--rates` gives several learning rates, every model tries all of them at the first correlation of the first seed and keeps the
one with the lowest MSE on rows of its own (`--valid-rows`).
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import json
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

import tfmtl
from tfmtl.data import synthetic
from tfmtl.data.preprocessing import Preprocessor
from tfmtl.data.reading import read
from tfmtl.keras_host import keras
from tfmtl.metrics import exact
from tfmtl.models import presets
from tfmtl.schema import Schema
from tfmtl.training.objectives import objectives

TASKS = ("first", "second")
SINGLE = "single-task"
ALONE = "PLE alone"
OWN = {"num_task_experts": 1, "num_shared_experts": 1}


def alone(schema: Schema, first: int, second: int, third: int) -> keras.Model:
    """A PLE of its own for each task, as one model."""
    outputs, inputs = {}, None
    for task in schema.tasks:
        bottom = tfmtl.SharedBottomRepresentation(schema.features, [task.name])
        trunk = tfmtl.PLE((first, second), **OWN)
        head = tfmtl.Towers([task], units=(third,))
        model = tfmtl.build(schema.with_tasks([task.name]), bottom, trunk, head, name=f"{task.name}_alone")
        inputs = model.input if inputs is None else inputs
        outputs |= model(inputs)
    return keras.Model(inputs, outputs)


MODELS: dict[str, Callable[[Schema, int, int, int], keras.Model]] = {
    # One feature, passed on as it is: nothing below the trunk that two single tasks could share.
    SINGLE: lambda s, a, b, c: presets.single_task(s, units=(a,), tower_units=(b, c)),
    "shared-bottom": lambda s, a, b, c: presets.shared_bottom(s, units=(a,), tower_units=(b, c)),
    "MMoE": lambda s, a, b, c: presets.mmoe(s, units=a, num_experts=3, tower_units=(b, c)),
    "CGC": lambda s, a, b, c: presets.cgc(s, units=a, tower_units=(b, c), **OWN),
    "PLE": lambda s, a, b, c: presets.ple(s, units=(a, b), tower_units=(c,), **OWN),
    ALONE: alone,
}


def arrays(data: synthetic.Synthetic) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """All rows as one batch of what a model reads, and the labels."""
    batch = read(data.rows, data.schema, batch_size=data.rows.num_rows).map(Preprocessor(data.schema.features))
    x, y = next(iter(batch))
    return {name: v.numpy() for name, v in x.items()}, {name: v.numpy() for name, v in y.items()}


class Contestant:
    """A model that is compiled once and trained from a new start for each seed and correlation."""

    def __init__(self, make: Callable[..., keras.Model], schema: Schema, options: Any, rate: float):
        self.make, self.schema, self.options, self.rate = make, schema, options, rate
        self.model = make(schema, *options.widths)
        schedule = keras.optimizers.schedules.CosineDecay(rate, options.epochs * -(-options.rows // options.batch))
        self.model.compile(
            keras.optimizers.Adam(schedule),
            loss=objectives(schema.tasks)["loss"],
            steps_per_execution=16,
            jit_compile=False,
        )
        self.model.optimizer.build(self.model.trainable_variables)

    def errors(self, train: Any, test: Any, seed: int) -> list[float]:
        """The MSE of each task on `test` after training."""
        keras.utils.set_random_seed(seed)
        self.model.set_weights(self.make(self.schema, *self.options.widths).get_weights())
        for variable in self.model.optimizer.variables:  # step count and moments
            variable.assign(keras.ops.zeros_like(variable))
        self.model.fit(*train, batch_size=self.options.batch, epochs=self.options.epochs, verbose=0)
        predictions = self.model.predict(test[0], batch_size=8192, verbose=0)
        return [exact.mean_squared_error(test[1][task], predictions[task].reshape(-1)) for task in TASKS]


def chosen(name: str, schema: Schema, train: Any, valid: Any, seed: int, options: Any) -> tuple[Contestant, dict]:
    """The contestant with the learning rate that is best on `valid`, and the mean MSE of each rate."""
    tried = {}
    for rate in options.rates if len(options.rates) > 1 else ():
        tried[rate] = float(np.mean(Contestant(MODELS[name], schema, options, rate).errors(train, valid, seed)))
        print(f"{name}, {rate:g}: {tried[rate]:.4f}", flush=True)
    rate = min(tried, key=tried.__getitem__) if tried else options.rates[0]
    return Contestant(MODELS[name], schema, options, rate), tried


def measure(options: Any) -> dict[str, Any]:
    """Runs what `--out` does not hold yet, and keeps every correlation of every seed as soon as it is there."""
    settings = {
        key: value for key, value in vars(options).items() if key not in ("out", "plot", "seeds", "correlations")
    }
    versions = {"tfmtl": tfmtl.__version__, "keras": keras.__version__, "tensorflow": tf.__version__}
    found: dict[str, Any] = {"versions": versions, "settings": settings, "parameters": {}, "runs": []}
    if options.out.exists():
        found = json.loads(options.out.read_text())
        if found["settings"] != settings:
            raise SystemExit(f"{options.out} holds another study: {found['settings']}")
    contestants: dict[str, Contestant] = {}
    for seed, correlation in product(range(options.seeds), options.correlations):
        if any((run["seed"], run["correlation"]) == (seed, correlation) for run in found["runs"]):
            continue
        train = valid = test = None  # those of the run before, 3 GB at the paper's size
        started, processor = time.perf_counter(), time.process_time()
        count = options.rows + options.valid_rows + options.test_rows
        data = synthetic.correlated_regression(count, correlation=correlation, d=options.d, seed=seed)
        first, rest = data.split(options.rows)
        train, (valid, test) = arrays(first), (arrays(part) for part in rest.split(options.valid_rows))
        schema = data.schema
        del data, first, rest  # at the paper's size the rows are 3 GB, and are held once more as arrays
        if not contestants:
            known = found.get("rates", {})
            of = {
                name: (Contestant(MODELS[name], schema, options, known[name]["kept"]), known[name]["tried"])
                if name in known
                else chosen(name, schema, train, valid, seed, options)
                for name in options.models
            }
            contestants = {name: contestant for name, (contestant, _) in of.items()}
            found["parameters"] = {name: one.model.count_params() for name, one in contestants.items()}
            found["rates"] = {name: {"tried": tried, "kept": one.rate} for name, (one, tried) in of.items()}
        mse = {name: contestant.errors(train, test, seed) for name, contestant in contestants.items()}
        seconds = {"wall": time.perf_counter() - started, "processor": time.process_time() - processor}
        found["runs"].append({"seed": seed, "correlation": correlation, "test_mse": mse, "seconds": seconds})
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(found, indent=1) + "\n")
        told = ", ".join(f"{name} {np.mean(of):.4f}" for name, of in mse.items())
        print(f"{seconds['wall']:4.0f} s  seed {seed}, correlation {correlation:+.2f}: {told}", flush=True)
    return found


def errors(found: dict[str, Any], name: str) -> tuple[list[float], np.ndarray]:
    """The correlations, and the test MSE `(correlations, seeds, tasks)`."""
    at = sorted({run["correlation"] for run in found["runs"]})
    return at, np.array([[run["test_mse"][name] for run in found["runs"] if run["correlation"] == p] for p in at])


def gains(found: dict[str, Any], name: str) -> np.ndarray:
    """MSE of the single-task model minus that of `name`, `(correlations, seeds, tasks)`."""
    return errors(found, SINGLE)[1] - errors(found, name)[1]


def spread(values: np.ndarray) -> str:
    """Mean over the seeds and its standard error."""
    error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{values.mean():+.4f} ± {error:.4f}"


def table(found: dict[str, Any]) -> str:
    """Gains as Markdown, mean of both tasks."""
    names = [name for name in found["parameters"] if name != SINGLE]
    at, single = errors(found, SINGLE)
    lines = [f"| correlation | {SINGLE} MSE | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
    for place, correlation in enumerate(at):
        cells = [spread(gains(found, name)[place].mean(-1)) for name in names]
        lines.append(f"| {correlation:+.2f} | {single[place].mean():.4f} | {' | '.join(cells)} |")
    cells = [spread(gains(found, name).mean((0, 2))) for name in names]
    return "\n".join([*lines, f"| all | {single.mean():.4f} | {' | '.join(cells)} |"])


def plot(found: dict[str, Any], path: Path) -> None:
    """One panel for each task: gain against correlation."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    at, _ = errors(found, SINGLE)
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True)
    for task, (axis, title) in enumerate(zip(axes, TASKS, strict=True)):
        for name in found["parameters"]:
            if name != SINGLE:
                gain = gains(found, name)[..., task]
                error = gain.std(axis=1, ddof=1) / gain.shape[1] ** 0.5 if gain.shape[1] > 1 else None
                style = {"linestyle": "--" if name == ALONE else "-", "marker": "o", "markersize": 4, "capsize": 2}
                axis.errorbar(at, gain.mean(axis=1), yerr=error, label=name, **style)
        axis.axhline(0, color="black", linewidth=0.8)
        axis.set_yscale("symlog", linthresh=0.01)  # linear to 0.01: one run that got stuck would flatten the rest
        ticks = (-0.03, -0.01, -0.005, 0, 0.005, 0.01)
        axis.set_yticks(ticks, map(str, ticks))
        axis.set_xticks([-1, -0.5, 0, 0.5, 1])
        axis.set_title(f"task {title}")
        axis.set_xlabel("correlation of the tasks' weights")
    axes[0].set_ylabel("gain in test MSE")
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def floats(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--correlations", type=floats, default=[-1.0, 0.0, 0.25, 0.5, 0.75, 1.0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--test-rows", type=int, default=20_000)
    parser.add_argument("--d", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--rates", type=floats, default=[3e-3])
    parser.add_argument("--valid-rows", type=int, default=10_000)
    parser.add_argument("--widths", type=lambda text: [int(part) for part in text.split(",")], default=[64, 32, 16])
    parser.add_argument("--models", type=lambda text: text.split(","), default=list(MODELS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("docs/studies/data/ple_synthetic.json"))
    parser.add_argument("--plot", action="store_true", help="only draw what --out holds")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)

    found = json.loads(options.out.read_text()) if options.plot else measure(options)
    print(table(found))
    plot(found, options.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
