"""A comparison without any training, for tests of what is shown of one."""

import numpy as np

from tfmtl.analysis import Comparison, Gain
from tfmtl.analysis.comparing import Cost, Failure
from tfmtl.analysis.comparing.entry import TWINS

TASKS = {"like": "binary", "click": "binary", "spend": "regression"}
GAINS = {
    "PLE": {"like": 0.03, "click": -0.03, "spend": 0.001},
    "<MMoE> & co": {"like": 0.001, "click": 0.0, "spend": 0.0},
}


def comparison() -> Comparison:
    """PLE lifts `like` at the cost of `click`; of the other model nothing is shown, and one of its runs failed."""
    seeds = (1, 2, 3)
    names = tuple(GAINS)
    main = {task: "auc" if kind == "binary" else "r2" for task, kind in TASKS.items()}
    figures, curves, bins = ({name: {} for name in (TWINS, *names)} for _ in range(3))
    gains = {name: {} for name in names}
    for task, kind in TASKS.items():
        for name in figures:
            values = {seed: 0.7 + seed / 1000 + GAINS.get(name, {}).get(task, 0.0) for seed in seeds}
            others = {"logloss": values, "calibration": values} if kind == "binary" else {"rmse": values}
            figures[name][task] = {"rows": dict.fromkeys(seeds, 100), main[task]: values, **others}
            loss = "val_logloss" if kind == "binary" else "val_rmse"
            curves[name][task] = [
                [{"loss": 0.5, loss: 0.6 - e / 10, f"val_{main[task]}": 0.6 + e / 10} for e in range(2)]
            ]
            bins[name][task] = [(0.1, 0.12, 50), (0.4, 0.35, 50)]
        for name in names:
            mean = GAINS[name][task]
            interval = (mean - 0.01, mean + 0.01)
            by_seed = {seed: float(mean + (seed - 2) / 500) for seed in seeds}
            gains[name][task] = Gain(name, task, main[task], by_seed, mean, interval, (mean - 0.005, mean + 0.005))
    costs = {name: Cost(1000, 0.01, {"all": 1.5}, {"all": 0.001}) for name in names}
    costs[TWINS] = Cost(3000, 0.03, dict.fromkeys(TASKS, 2.0), dict.fromkeys(TASKS, 0.001))
    settings = {
        "seeds": list(seeds),
        "epochs": 2,
        "batch_size": 64,
        "patience": None,
        "confidence": 0.95,
        "resamples": 200,
        "group": "user",
        "drawn": "groups of user",
        "rows": {"train": np.int64(1000), "valid": 100, "test": 100},
        "normalize": False,
        "judged_by": main,
    }
    failures = (Failure("<MMoE> & co", 3, 0.1, "the loss became nan in epoch 1, step 7"),)
    return Comparison(TASKS, names, figures, gains, costs, curves, bins, failures, settings)
