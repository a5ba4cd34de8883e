"""The numbers of an examination, by names that log well."""

from itertools import combinations

import numpy as np

from tfmtl.analysis.doctor.examination import Examination
from tfmtl.metrics import exact


def measurements(examined: Examination) -> dict[str, float]:
    """What can be followed from one epoch to the next; numbers that are not defined are left out.

    | name | what |
    |---|---|
    | `gradient/{task}` | length of the weighted gradient by the shared dense weights, root mean square over the steps |
    | `cosine/{task}/{task}` | mean cosine of two tasks' gradients |
    | `gate_entropy/{level}/{stream}` | mean entropy of a gate, over that of an even one |
    | `gate_weight/{level}/{stream}/{owner}` | what a gate gives the experts of an owner, on average |
    | `auc/{task}`, `calibration/{task}`, `mse/{task}` | on the rows |
    """
    found = {**_of_gradients(examined), **_of_gates(examined), **_of_rows(examined)}
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}


def _of_gradients(examined: Examination) -> dict[str, float]:
    measured = examined.gradients
    if measured is None or not measured.layers:
        return {}
    lengths = np.sqrt(measured.squares.mean(0))
    found = {f"gradient/{task}": examined.weights[task] * lengths[place] for place, task in enumerate(measured.tasks)}
    between = measured.mean_cosines
    for first, second in combinations(range(len(measured.tasks)), 2):
        found[f"cosine/{measured.tasks[first]}/{measured.tasks[second]}"] = between[first, second]
    return found


def _of_gates(examined: Examination) -> dict[str, float]:
    found: dict[str, float] = {}
    for mixture in examined.mixtures:
        for reader, gate in mixture.gates.items():
            found[f"gate_entropy/{mixture.name}/{reader}"] = gate.entropy
            for owner in dict.fromkeys(owner for owner, _ in gate.experts):
                own = [place for place, expert in enumerate(gate.experts) if expert[0] == owner]
                found[f"gate_weight/{mixture.name}/{reader}/{owner}"] = float(gate.mean[own].sum())
    return found


def _of_rows(examined: Examination) -> dict[str, float]:
    found: dict[str, float] = {}
    for task in examined.schema.tasks:
        labels, predictions, weights = examined.rows.of_task(task.name)
        if task.kind == "binary":
            found[f"auc/{task.name}"] = exact.auc(labels, predictions, weights)
            found[f"calibration/{task.name}"] = exact.calibration(labels, predictions, weights)
        else:
            found[f"mse/{task.name}"] = exact.mean_squared_error(labels, predictions, weights)
    return found
