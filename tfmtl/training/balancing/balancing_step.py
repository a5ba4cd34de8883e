"""From the losses of a step to the gradients that the optimizer is given."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from tfmtl.cross_replica import num_replicas
from tfmtl.keras_host import raw
from tfmtl.training.balancing.balancer import Balancer, Signals, State
from tfmtl.training.balancing.balancing_state import BalancingState
from tfmtl.training.balancing.shared_weights import SharedWeights, as_jacobian
from tfmtl.training.balancing.task_losses import TaskLosses, everywhere

LEAST = 2.0**-60
"""What a weight of zero is taken for where gradients are divided by it again: too small to move a float32 sum, and far from
where float32 and bfloat16 end."""


class Found(NamedTuple):
    """What a balancer made of a step.

    Attributes:
        weights: of the tasks, `(K,)`.
        own: the balancer's new state.
        dense: this replica's gradients of the shared dense weights, where the balancer had those of every task anyway and
            they need only be added; else None.
    """

    weights: tf.Tensor
    own: State
    dense: list[tf.Tensor] | None = None


class BalancingStep:
    """What a `BalancedModel` holds beside its layers, out of reach of Keras's tracking, and the arithmetic of its step.

    Args:
        balancer: finds the weights.
        losses: of the tasks.
        shared: the weights that the tasks share.
        state: of the balancer.
    """

    def __init__(self, balancer: Balancer, losses: TaskLosses, shared: SharedWeights, state: BalancingState):
        self.balancer = balancer
        self.losses = losses
        self.shared = shared
        self.state = state

    def signals(self, losses: Sequence[tf.Tensor], labels: Any) -> Signals:
        """What the balancer reads, summed over the replicas; the gradients aside."""
        count = len(losses)
        summed = everywhere(tf.concat([tf.stack(losses), self.losses.labelled(labels)], axis=0))
        return Signals(summed[:count], summed[count:] > 0, tf.convert_to_tensor(self.state.held["step"]))

    def gradients(
        self,
        tape: tf.GradientTape,
        losses: Sequence[tf.Tensor],
        rest: tf.Tensor | None,
        signals: Signals,
        scale: tf.Tensor,
    ) -> tuple[Found, list[Any]]:
        """What the balancer made of the step, and this replica's gradient of `sum_k w_k L_k + rest` by every trainable
        weight, times `scale`.

        `rest` is regularisation and what layers added. Where the balancer's answer is no number, or no task has a label, the
        weights and its state are held.
        """
        if self.balancer.every == 1 or not self.balancer.needs_gradients:
            found = self._find(tape, losses, signals, scale)
            return found, self._combined(tape, losses, rest, found, scale)
        due = signals.step % self.balancer.every == 0
        if num_replicas() > 1:
            found = self._find_when(due, tape, losses, signals, scale)
            return found, self._combined(tape, losses, rest, found, scale)

        def step(find: Callable[[], Found]) -> tuple[tf.Tensor, State, dict[int, Any]]:
            found = find()
            gradients = self._combined(tape, losses, rest, found, scale)
            return found.weights, found.own, {n: each for n, each in enumerate(gradients) if each is not None}

        weights, own, by_number = tf.cond(
            due,
            lambda: step(lambda: self._find(tape, losses, signals, scale)),
            lambda: step(self._held),
        )
        return Found(weights, own), [by_number.get(n) for n in range(len(self.shared.variables))]

    def _held(self) -> Found:
        return Found(tf.convert_to_tensor(self.state.held["weights"]), self.state.own())

    def _find(self, tape: tf.GradientTape, losses: Sequence[tf.Tensor], signals: Signals, scale: tf.Tensor) -> Found:
        """Asks the balancer."""
        held = self._held()
        if not self.balancer.needs_gradients:
            return self._accepted(*self.balancer.weigh(signals, held.own), signals, held)
        gradients = self.shared.gradients(tape, losses, scale)
        signals = signals._replace(jacobian=everywhere(as_jacobian(gradients)), sizes=self.shared.sizes)
        if self.balancer.resizes:
            weights, factors, new = self.balancer.resize(signals, held.own)
            found = self._accepted(weights, new, signals, held)
            factors = tf.where(tf.math.is_finite(factors), factors, 1.0)
            return found._replace(dense=_summed(gradients, factors))
        found = self._accepted(*self.balancer.weigh(signals, held.own), signals, held)
        return found._replace(dense=_summed(gradients, found.weights[:, None]))

    def _find_when(
        self, due: tf.Tensor, tape: tf.GradientTape, losses: Sequence[tf.Tensor], signals: Signals, scale: tf.Tensor
    ) -> Found:
        """Asks the balancer in some steps. A branch cannot wait for other replicas, so their sum stands between two branches."""
        held = self._held()
        jacobian = tf.cond(
            due,
            lambda: as_jacobian(self.shared.gradients(tape, losses, scale)),
            lambda: tf.zeros((len(losses), sum(self.shared.sizes))),
        )
        signals = signals._replace(jacobian=everywhere(jacobian), sizes=self.shared.sizes)
        weights, own = tf.cond(
            due,
            lambda: self._accepted(*self.balancer.weigh(signals, held.own), signals, held)[:2],
            lambda: (held.weights, held.own),
        )
        return Found(weights, own)

    def _accepted(self, weights: tf.Tensor, new: State, signals: Signals, held: Found) -> Found:
        used = tf.where(signals.present, weights, 1.0)
        good = is_finite(used, tf.where(signals.present, signals.losses, 0.0)) & tf.reduce_any(signals.present)
        return Found(
            tf.where(good & signals.present, weights, held.weights),
            {name: tf.where(good, new.get(name, value), value) for name, value in held.own.items()},
        )

    def look_back(self, signals: Signals, after: tf.Tensor, own: State) -> State:
        """The balancer's state after the step, given this replica's losses after it."""
        after = everywhere(after)
        new = self.balancer.look_back(signals, after, own)
        good = is_finite(after, signals.losses)
        return {name: tf.where(good, new.get(name, value), value) for name, value in own.items()}

    def _combined(
        self, tape: tf.GradientTape, losses: Sequence[tf.Tensor], rest: tf.Tensor | None, found: Found, scale: tf.Tensor
    ) -> list[Any]:
        """The gradients by every trainable weight: one backward pass.

        Weights that a single task reaches follow its plain loss if the balancer says so: their gradient is divided by the
        task's weight. Where `rest` or float16 stands in the way of that, a second backward pass brings them, which ends where
        the layers of single tasks do.
        """
        known = [] if found.dense is None else self.shared.dense
        towers = [] if self.balancer.weighs_towers or self.balancer.resizes else self.shared.towers
        apart = bool(towers) and (rest is not None or self.shared.half)
        weights = tf.ones_like(found.weights) if self.balancer.resizes else found.weights
        if towers and not apart:
            weights = tf.where(tf.abs(weights) < LEAST, LEAST, weights)

        others = without(self.shared.variables, [*known, *(towers if apart else [])])
        by_variable = self._backward(tape, losses, rest, weights, others, scale)
        if apart:
            by_variable |= self._backward(tape, losses, rest, tf.ones_like(weights), towers, scale)
        elif towers:
            for variable, owner in zip(towers, self.shared.owners, strict=True):
                by_variable[id(variable)] = _divided(by_variable[id(variable)], weights[owner])
        if found.dense is not None:
            by_variable |= dict(zip(map(id, known), self._with_rest(tape, found.dense, rest, scale), strict=True))
        return [by_variable[id(variable)] for variable in self.shared.variables]

    @staticmethod
    def _backward(
        tape: tf.GradientTape,
        losses: Sequence[tf.Tensor],
        rest: tf.Tensor | None,
        weights: tf.Tensor,
        variables: list[Any],
        scale: tf.Tensor,
    ) -> dict[int, Any]:
        """The gradient of the weighted losses and of `rest` by `variables`, times `scale`."""
        seeds = [scale * weight for weight in tf.unstack(weights, num=len(losses))]
        if rest is not None:
            losses, seeds = [*losses, rest], [*seeds, scale]
        gradients = tape.gradient(losses, [raw(v) for v in variables], seeds)
        return dict(zip(map(id, variables), gradients, strict=True))

    def _with_rest(
        self, tape: tf.GradientTape, dense: list[tf.Tensor], rest: tf.Tensor | None, scale: tf.Tensor
    ) -> list[tf.Tensor]:
        """The gradients of the shared dense weights, times `scale`, with those of `rest`."""
        variables = self.shared.dense
        others = [None] * len(dense) if rest is None else tape.gradient(rest, [raw(v) for v in variables], scale)
        return [
            tf.cast(gradient * scale if other is None else gradient * scale + other, variable.dtype)
            for gradient, other, variable in zip(dense, others, variables, strict=True)
        ]


def is_finite(*values: tf.Tensor) -> tf.Tensor:
    """Whether all elements are numbers."""
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(value)) for value in values])


def without(variables: list[Any], others: list[Any]) -> list[Any]:
    """`variables` but for `others`; compared by identity, as `==` of variables compares their elements."""
    left_out = set(map(id, others))
    return [variable for variable in variables if id(variable) not in left_out]


def _divided(gradient: Any, weight: tf.Tensor) -> Any:
    """`gradient`, which may be one of single rows, over `weight`."""
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(_divided(gradient.values, weight), gradient.indices, gradient.dense_shape)
    return gradient / tf.cast(weight, gradient.dtype)


def _summed(gradients: list[list[tf.Tensor]], factors: tf.Tensor) -> list[tf.Tensor]:
    """For each shared weight the sum of the tasks' gradients, each times its factor, `(K, 1)` or one for each weight."""
    columns = tf.unstack(factors, axis=1) * (len(gradients[0]) // factors.shape[1])
    return [
        tf.add_n([factor * gradient for factor, gradient in zip(tf.unstack(column), of_weight, strict=True)])
        for column, of_weight in zip(columns, zip(*gradients, strict=True), strict=True)
    ]
