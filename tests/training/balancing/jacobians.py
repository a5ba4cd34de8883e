"""Jacobians that balancers have trouble with, and what a solution must fulfil."""

import numpy as np
import tensorflow as tf


def jacobians(tasks: int) -> dict[str, np.ndarray]:
    """`(K, P)` by what is special about them; gradients may cancel in those whose name says so."""
    rng = np.random.default_rng(tasks)
    plain = rng.normal(size=(tasks, 24))
    found = {
        "any": plain,
        "aligned": np.abs(plain),
        "conflicting": plain - 1.2 * plain.mean(0),
        "scaled": plain * 10.0 ** rng.integers(-3, 4, (tasks, 1)),
        "one direction": rng.uniform(0.5, 2, (tasks, 1)) * plain[:1],
        "dependent": rng.uniform(0.5, 2, (tasks, 2)) @ plain[:2] if tasks > 1 else plain,
    }
    if tasks > 1:
        found["equal"] = np.concatenate([plain[:-1], plain[:1]])
        found["opposite, cancel"] = np.concatenate([plain[:-1], -plain[:1]])
    return found


def gramian(jacobian: np.ndarray) -> tf.Tensor:
    return tf.constant(jacobian @ jacobian.T, "float64")


def all_of(tasks: int) -> tf.Tensor:
    return tf.ones(tasks, "bool")


def simplex_residual(weights: np.ndarray, gradient: np.ndarray) -> float:
    """How far `weights` are from the conditions of a minimum over the simplex, given the gradient of the objective."""
    level = weights @ gradient
    return max(
        abs(weights.sum() - 1), -weights.min(), np.abs(weights * (gradient - level)).max(), (level - gradient).max()
    )


def bounded_residual(over_bound: np.ndarray, gradient: np.ndarray) -> float:
    """The same for a minimum over `over_bound >= 0`."""
    return max(-over_bound.min(), -gradient.min(), np.abs(over_bound * gradient).max())
