"""From a model to the same model with balanced tasks."""

from collections.abc import Mapping

import tensorflow as tf

from tfmtl.keras_host import BACKEND, inputs_by_name, keras
from tfmtl.training.balancing.balanced_model import BalancedModel
from tfmtl.training.balancing.balancer import Balancer


def balanced(model: keras.Model, balancer: Balancer) -> BalancedModel:
    """Returns `model` with a training step that weighs its tasks as `balancer` says.

    `compile`, `fit`, callbacks, `evaluate`, `save` and `export` are used as before. The layers and weights are those of
    `model`, and `save` writes `model`: the file loads without the balancer. The state of the balancer goes with the weights
    (`save_weights` to a `.weights.h5` file, `BackupAndRestore`, `tf.train.Checkpoint`).

    Each task's loss enters with its weight in `compile`, so a balancer works on top of `Task(weight=...)`. The logs have
    the mean weight that it found, `{task}_weight`; `loss` stays the sum with the weights of `compile`, which can be
    compared from one epoch to the next.

    Every step is one ordinary backward pass of `sum_k w_k L_k`, so embedding tables keep their sparse gradients. Balancers
    that read gradients take them of the dense weights that more than one task reaches. A task without a labelled row in
    the global batch has no part in the step and keeps its weight.

    | reads | balancers |
    |---|---|
    | losses | `Static`, `RLW`, `UncertaintyWeighting`, `DWA`, `FAMO` |
    | gradients of shared weights | `GradNorm`, `MGDA`, `CAGrad`, `UPGrad`, `NashMTL`, `DBMTL`, `IMTLG`, `AlignedMTL`, `PCGrad`, `MetaBalance` |

    Args:
        model: functional, with a dict of outputs by task, compiled or not. Under a `tf.distribute` strategy call this in
            its scope, where the model was built.
        balancer: such as `CAGrad(every=10)`.

    Raises:
        ValueError: a backend other than TensorFlow, a model that is not functional or has no dict of outputs, or something
            else than a balancer, or a parameter server strategy; and, at `compile`, a task that the model does not have, or no shared dense weight.

    Example:

    ```python
    model = balanced(ple(schema), CAGrad())
    model.compile(LazyAdam(1e-3), **objectives(schema.tasks))
    model.fit(train, validation_data=valid, epochs=3)
    model.save("model.keras")
    ```
    """
    if BACKEND != "tensorflow":
        raise ValueError(
            f"`balanced` needs the TensorFlow backend, whose training step it replaces. Received: backend={BACKEND!r}"
        )
    if not isinstance(balancer, Balancer):
        raise ValueError(f"`balancer` must be a balancer such as CAGrad(). Received: balancer={balancer!r}")
    if isinstance(model, BalancedModel):
        model = model.plain()
    if not isinstance(model, keras.Model) or not inputs_by_name(model):
        raise ValueError(
            "`model` must be a functional Keras model, made by `build`, a preset or `keras.Model(inputs, outputs)`: of a "
            f"subclassed model the layers between columns and tasks are not known. Received: {type(model).__name__}"
        )
    if not isinstance(model.output, Mapping):
        raise ValueError(
            "`model` must return a dict, {task: prediction}, so that each loss has a name. "
            f"Received: outputs of type {type(model.output).__name__}"
        )
    if isinstance(model.distribute_strategy, tf.distribute.ParameterServerStrategy):
        raise ValueError(
            "`balanced` needs replicas that take each step together, as MirroredStrategy's do. "
            f"Received: {type(model.distribute_strategy).__name__}"
        )
    return BalancedModel(model, balancer)
