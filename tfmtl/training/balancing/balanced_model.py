"""A functional model whose training step weighs its tasks."""

from types import SimpleNamespace
from typing import Any

import tensorflow as tf

from tfmtl.keras_host import keras, register
from tfmtl.named_model import NamedModel
from tfmtl.training.balancing.balancer import Balancer
from tfmtl.training.balancing.balancing_state import BalancingState
from tfmtl.training.balancing.balancing_step import BalancingStep
from tfmtl.training.balancing.host_step import additional_loss, apply_scaled, loss_scale, record_loss
from tfmtl.training.balancing.shared_weights import SharedWeights
from tfmtl.training.balancing.task_losses import TaskLosses


@register
class BalancedModel(NamedModel):
    """A functional model with the layers of another, trained with weights that a balancer finds; see `balanced`.

    Args:
        plain: the functional model.
        balancer: finds the weights.
    """

    def __init__(self, plain: keras.Model, balancer: Balancer):
        super().__init__(inputs=plain.input, outputs=plain.output, name=plain.name)
        # In a namespace, where Keras does not look for layers and weights: the plain model holds all of them already.
        self._held = SimpleNamespace(plain=plain, balancer=balancer, compiled_with=None, step=None, evaluating=False)

    @property
    def balancing(self) -> BalancingState | None:
        """The balancer's state; None before `compile`. Keras saves it with the weights because it is an attribute."""
        held = vars(self).get("_held")
        return held.step.state if held is not None and held.step is not None else None

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Those of every model, and in training the weights of the tasks."""
        logged = [] if self.balancing is None or self._held.evaluating else [self.balancing]
        return [*super().metrics, *logged]

    def compile(
        self, optimizer: Any = "rmsprop", *, loss: Any = None, loss_weights: Any = None, **options: Any
    ) -> None:
        """As `keras.Model.compile`; `loss` and `loss_weights` are dicts by task, as `objectives` gives them."""
        balancer = self._held.balancer
        losses = TaskLosses(tuple(self.output), loss, loss_weights)
        balancer.bind(losses.tasks)
        super().compile(optimizer, loss=loss, loss_weights=loss_weights, **options)
        self._held.compiled_with = {"loss": loss, "loss_weights": loss_weights, **options}
        with self.distribute_strategy.scope():
            shared = SharedWeights(self._held.plain, losses.tasks)
            if balancer.needs_gradients:
                shared.check_any(type(balancer).__name__)
            state = BalancingState(balancer, losses.tasks, shared.sizes)
        self._held.step = BalancingStep(balancer, losses, shared, state)
        # For `tf.train.Checkpoint`, which follows attributes. tf_keras would take variables for weights of the model.
        self.balancing_checkpoint = tf.train.Checkpoint(**state.held)

    def plain(self) -> keras.Model:
        """The model without the balancer: the same layers, weights and optimizer, compiled alike."""
        plain = self._held.plain
        if self._held.compiled_with is not None:
            with self.distribute_strategy.scope():
                plain.compile(self.optimizer, **self._held.compiled_with)
        return plain

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        step: BalancingStep = self._held.step
        # A tape that is asked once lets TensorFlow keep less of what it calls.
        with tf.GradientTape(persistent=step.balancer.needs_gradients) as tape:
            predictions = self(x, training=True)
            # Before the losses of the tasks wait for other replicas: see `NamedModel`.
            added = self.added_losses(y, sample_weight)
            rest = additional_loss(added) if added else None
            total = self.compute_loss(x, y, predictions, sample_weight)
            losses = step.losses(y, predictions, sample_weight)
        record_loss(self, total, tf.shape(tf.nest.flatten(x)[0])[0])

        scale = loss_scale(self.optimizer)
        signals = step.signals(losses, y)
        found, gradients = step.gradients(tape, losses, rest, signals, scale)
        del tape  # and with it what the forward pass left for it
        apply_scaled(self.optimizer, gradients, step.shared.variables)

        own = found.own
        if step.balancer.looks_back:
            after = step.losses(y, self(x, training=True), sample_weight)
            own = step.look_back(signals, tf.stack(after), own)
        step.state.keep(own)
        step.state.update_state(found.weights)
        return self.compute_metrics(x, y, predictions, sample_weight)

    def evaluate(self, *arguments: Any, **options: Any) -> Any:
        self._held.evaluating = True
        try:
            return super().evaluate(*arguments, **options)
        finally:
            self._held.evaluating = False

    def save(self, *arguments: Any, **options: Any) -> None:
        """Saves the plain model: the file loads without the balancer."""
        self.plain().save(*arguments, **options)

    def export(self, *arguments: Any, **options: Any) -> Any:
        """Exports the plain model."""
        return self.plain().export(*arguments, **options)

    def get_config(self) -> dict[str, Any]:
        return self._held.plain.get_config()

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> keras.Model:
        """A file that holds this class all the same, as `keras.saving.save_model` writes it, gives the plain model."""
        return keras.Model.from_config(config, custom_objects=custom_objects)
