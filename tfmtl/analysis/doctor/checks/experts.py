"""Experts that do nothing, do the same, or do it for the wrong task."""

from collections.abc import Iterator

import numpy as np

from tfmtl.analysis.doctor.checks.gates import is_one_hot
from tfmtl.analysis.doctor.examination import Examination
from tfmtl.analysis.doctor.finding import Finding
from tfmtl.analysis.doctor.mixture_statistics import MixtureStatistics
from tfmtl.typing import SHARED

STILL = 1e-3
"""What varies by less than this part of its length cannot tell rows apart: it is below the rounding of bfloat16."""

SAME = 1e-2
"""An expert is another's double if no more than this part of its length is left beside a multiple of the other."""

ALONE = 0.05
"""A shared expert of which all other tasks together take less than a twentieth serves one task."""

HARDLY = 0.1
"""A task that gives its own experts less than a tenth of what an even gate would give them does without them."""


def idle_experts(examined: Examination) -> Iterator[Finding]:
    """Experts that give zeros, or the same for every row."""
    for mixture in examined.mixtures:
        scale = mixture.length.max()
        dead = mixture.length <= 1e-6 * scale
        constant = ~dead & (mixture.spread < STILL * mixture.length)
        if dead.any():
            yield _of_experts(
                "dead_experts",
                mixture,
                np.flatnonzero(dead),
                "give zeros for every row",
                "They get no gradient and stay so: lower the learning rate, use another activation than relu (`activation='gelu'`), "
                "or fewer experts.",
                {"length": float(mixture.length[dead].max()), "length_of_others": float(scale)},
            )
        if constant.any():
            yield _of_experts(
                "constant_experts",
                mixture,
                np.flatnonzero(constant),
                "give the same for every row",
                "Saturated activations or dead inputs: standardize what they read and lower the learning rate.",
                {"spread": float((mixture.spread / np.maximum(mixture.length, 1e-30))[constant].max())},
            )


def identical_experts(examined: Examination) -> Iterator[Finding]:
    """Groups of experts of one level of which each is a multiple of the first."""
    for mixture in examined.mixtures:
        known = mixture.length > 1e-6 * mixture.length.max()
        known &= mixture.spread >= STILL * mixture.length
        lengths = np.where(known, mixture.length, 1.0)
        between = np.abs(mixture.inner / (lengths[:, None] * lengths[None, :]))
        left = np.sqrt(np.maximum(1 - np.square(between), 0.0))  # beside the best multiple, as a part of its length
        alike = np.triu((left < SAME) & known[:, None] & known[None, :], 1)
        firsts, seconds = np.where(alike)
        if len(firsts):
            yield _of_experts(
                "identical_experts",
                mixture,
                np.unique(np.concatenate([firsts, seconds])),
                "give the same as another one of them, up to a factor",
                "Experts that begin alike stay alike: draw each for itself (one seeded initializer given to several layers draws "
                "the same numbers), or use fewer.",
                {"pairs": len(firsts), "difference": float(left[alike].max())},
            )


def _of_experts(
    name: str, mixture: MixtureStatistics, places: np.ndarray, what: str, advice: str, evidence: dict[str, float]
) -> Finding:
    experts = [mixture.experts[place] for place in places]
    owners = tuple(dict.fromkeys(owner for owner, _ in experts if owner != SHARED))
    listed = ", ".join(f"{owner} {number}" for owner, number in experts)
    return Finding(
        name,
        "warning",
        f"{mixture.name}, {listed}",
        f"{len(experts)} of the {len(mixture.experts)} experts {what}.",
        advice,
        owners,
        {"experts": len(experts), **evidence},
    )


def captured_expert(examined: Examination) -> Iterator[Finding]:
    """Shared experts that one task reads and the others leave to it, and experts that nobody reads."""
    for mixture in examined.mixtures:
        readers = {reader: gate for reader, gate in mixture.gates.items() if reader != SHARED}
        if not readers or any(map(is_one_hot, mixture.gates.values())):
            continue  # that gate is the cause, and named
        for expert in mixture.experts:
            shares = {
                reader: float(gate.mean[gate.experts.index(expert)])
                for reader, gate in readers.items()
                if expert in gate.experts
            }
            used = {
                reader: share * len(readers[reader].experts) for reader, share in shares.items()
            }  # 1: as an even gate
            others = mixture.gates.get(SHARED)
            if others is not None and expert in others.experts:
                used[SHARED] = float(others.mean[others.experts.index(expert)]) * len(others.experts)
            if not shares:
                continue
            if max(used.values()) < HARDLY:
                yield _unused(mixture, expert, max(used.values()))
            elif expert[0] == SHARED and len(shares) > 1:
                yield from _captured(mixture, expert, shares)


def _captured(mixture: MixtureStatistics, expert: tuple[str, int], shares: dict[str, float]) -> Iterator[Finding]:
    task = max(shares, key=shares.__getitem__)
    rest = sum(shares.values()) - shares[task]
    if rest < ALONE * sum(shares.values()) and shares[task] * len(mixture.gates[task].experts) > HARDLY:
        yield Finding(
            "captured_expert",
            "warning",
            f"{mixture.name}, {expert[0]} {expert[1]}",
            f"{task!r} takes {shares[task] / sum(shares.values()):.1%} of what the tasks read of this shared expert.",
            "What is meant to be shared is one task's own: raise the weights of the others, give them more shared experts to "
            "choose from, or make this one the task's (`num_task_experts`).",
            (task,),
            {f"weight_by_{name}": share for name, share in shares.items()},
        )


def _unused(mixture: MixtureStatistics, expert: tuple[str, int], most: float) -> Finding:
    return Finding(
        "unused_experts",
        "note",
        f"{mixture.name}, {expert[0]} {expert[1]}",
        "No gate gives this expert a tenth of an even weight.",
        "Use fewer experts: this one costs time and is hardly read.",
        () if expert[0] == SHARED else (expert[0],),
        {"share_of_even": most},
    )


def starved_experts(examined: Examination) -> Iterator[Finding]:
    """Tasks whose gate passes over their own experts, which are then hardly trained."""
    for mixture in examined.mixtures:
        for task, gate in mixture.gates.items():
            own = [place for place, (owner, _) in enumerate(gate.experts) if owner == task]
            if task == SHARED or not own or len(own) == len(gate.experts) or is_one_hot(gate):
                continue
            share, even = float(gate.mean[own].sum()), len(own) / len(gate.experts)
            if share < HARDLY * even:
                labels, _, _ = examined.rows.of_task(task)
                yield Finding(
                    "starved_experts",
                    "warning",
                    f"{mixture.name}, experts of {task}",
                    f"{task!r} gives its own {len(own)} experts {share:.2%} of its gate, where an even gate gives {even:.0%}: they "
                    "are hardly read, and so hardly trained.",
                    "The task has too little to train experts with: normalise the losses (`objectives(..., normalize=True)`), or "
                    "let it read the shared experts alone (`mmoe`, `num_task_experts=0`).",
                    (task,),
                    {
                        "weight_of_own": share,
                        "even": even,
                        "labels": len(labels),
                        "mean_label": float(labels.mean()) if len(labels) else float("nan"),
                    },
                )
