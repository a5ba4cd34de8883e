"""Tasks that want opposite things, and tasks that nobody hears."""

import math
from collections.abc import Iterator
from itertools import combinations

import numpy as np

from tfmtl.analysis.doctor.examination import Examination
from tfmtl.analysis.doctor.finding import Finding
from tfmtl.analysis.doctor.significance import ALPHA, sign_test
from tfmtl.schema import Task
from tfmtl.training.suggest_weights import CONFLICT
from tfmtl.training.task_gradients import cosines

HEARD = 0.1
"""A task whose weighted gradient is shorter than a tenth of the others' sum turns the joint step by less than 6 degrees."""

LEARNED = 0.9
"""A task that is predicted so well that 90 % of its loss is gone is quiet because it has nothing left to ask for."""


def conflicting_gradients(examined: Examination) -> Iterator[Finding]:
    """Pairs of tasks whose gradients by the shared dense weights point apart, in more steps than chance would have it."""
    measured = examined.gradients
    if measured is None or not measured.layers:
        return
    joint, by_layer = cosines(measured.joint), cosines(measured.gramians)
    pairs = list(combinations(range(len(measured.tasks)), 2))
    for first, second in pairs:
        found = joint[:, first, second]
        found = found[~np.isnan(found)]
        opposed = int((found < 0).sum())
        if not len(found) or found.mean() >= CONFLICT or sign_test(opposed, len(found)) * len(pairs) > ALPHA:
            continue
        layers = _means(by_layer[:, :, first, second])
        worst = sorted(range(len(layers)), key=layers.__getitem__)[:3]
        names = (measured.tasks[first], measured.tasks[second])
        yield Finding(
            "conflicting_gradients",
            "warning",
            ", ".join(names),
            f"{names[0]!r} and {names[1]!r} pull the shared weights apart in {opposed} of {len(found)} steps, most of all in "
            f"{measured.layers[worst[0]]!r}.",
            "Give them more of their own (experts, tables: `ple`, `stem_net`), or change directions while training "
            "(`balanced(model, PCGrad())`, `CAGrad()`). Weights alone decide who yields.",
            names,
            {
                "cosine": float(found.mean()),
                "share_of_steps": opposed / len(found),
                "steps": len(found),
                **{f"cosine in {measured.layers[place]}": layers[place] for place in worst},
            },
        )


def _means(cosines_of_layers: np.ndarray) -> list[float]:
    """The mean cosine of each layer over the steps, `(S, L) -> (L,)`; 1 where the tasks never meet, so that it is no worst."""
    known = ~np.isnan(cosines_of_layers)
    sums = np.where(known, cosines_of_layers, 0.0).sum(0)
    return np.where(known.any(0), sums / np.maximum(known.sum(0), 1), 1.0).tolist()


def drowned_task(examined: Examination) -> Iterator[Finding]:
    """Tasks whose weighted gradient is lost among those of the others.

    By the weights that they share, and by all dense weights: a task that asks for little of what is shared, because its gate
    turns to its own experts, is heard there.
    """
    measured = examined.gradients
    if measured is None or not measured.layers or len(measured.tasks) < 2:
        return
    weights = np.array([examined.weights[task] for task in measured.tasks])
    gramian = measured.joint.mean(0) * weights[:, None] * weights[None, :]
    whole = (measured.squares + measured.own).mean(0) * weights**2
    for place, task in enumerate(measured.tasks):
        if task in examined.ruined or not (measured.labelled[:, place] > 0).any():
            continue
        own, others = _lengths(gramian, place)
        own_whole, others_whole = _lengths(np.diag(whole), place)
        explained = _explained(examined, examined.schema.task(task))
        if others and own < HEARD * others and own_whole < HEARD * others_whole and not explained > LEARNED:
            yield Finding(
                "drowned_task",
                "warning",
                task,
                f"{task!r} pulls the shared weights {others / own if own else math.inf:,.0f} times less than the other tasks "
                "together.",
                "Use `objectives(schema.tasks, normalize=True)`, weights of `suggest_weights`, or a balancer "
                "(`balanced(model, GradNorm())`).",
                (task,),
                {
                    "gradient": own,
                    "gradient_of_others": others,
                    "degrees": math.degrees(math.atan2(own, others)),
                    "loss_weight": float(weights[place]),
                    "explained": explained,
                },
            )


def _lengths(gramian: np.ndarray, place: int) -> tuple[float, float]:
    """The length of one gradient, and that of the sum of the others."""
    rest = np.delete(np.arange(len(gramian)), place)
    squares = (gramian[place, place], gramian[np.ix_(rest, rest)].sum())
    own, others = (math.sqrt(max(float(square), 0.0)) for square in squares)
    return own, others


def _explained(examined: Examination, task: Task) -> float:
    """The share of the loss of always answering the mean that the model does without, on the rows."""
    labels, predictions, _ = examined.rows.of_task(task.name)
    if task.kind == "regression":
        return 1 - float(np.square(labels - predictions).mean() / labels.var())
    rate, clipped = float(labels.mean()), np.clip(predictions, 1e-7, 1 - 1e-7).astype("float64")
    loss = -float(np.log(np.where(labels == 1, clipped, 1 - clipped)).mean())
    return 1 + loss / (rate * math.log(rate) + (1 - rate) * math.log(1 - rate))
