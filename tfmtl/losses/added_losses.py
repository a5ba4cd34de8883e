"""A loss that waits for other replicas spoils what layers add beside it in a plain model of Keras 3."""

import inspect
from types import FrameType

from tfmtl.keras_host import LEGACY, keras
from tfmtl.named_model import NamedModel


def refuse_added_losses() -> None:
    """Raises ValueError where the model that is computing its loss holds losses that its layers have added.

    Called by a loss that is about to wait for the other replicas. These run the same layers meanwhile, and Keras 3 reads
    what layers have added only afterwards: the last replica's, for all of them. A `NamedModel` reads it before, and so
    does tf_keras. A loss is not told whose it is, so the model is looked for among the callers; a step of a user's own
    that is no method of a model is not found.
    """
    model = None if LEGACY else _computing_model(inspect.currentframe())
    if model is None or isinstance(model, NamedModel):
        return
    # What regularizers of weights cost is computed at each look, so they are other tensors then.
    seen = [model.losses, model.losses]
    added = {id(loss) for loss in seen[0]} & {id(loss) for loss in seen[1]}
    if added:
        names = [layer.name for layer in model.layers if added & {id(loss) for loss in layer.losses}]
        raise ValueError(
            "Under several replicas Keras 3 would train all of them by what the last one's layers add beside a masked loss "
            "(`add_loss`, `activity_regularizer`). Train `tfmtl.models.NamedModel(model.inputs, model.output)`, which has "
            f"the same layers and weights. Received: model={model.name!r}; layers that add losses: {names}"
        )


def _computing_model(frame: FrameType | None) -> keras.Model | None:
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, keras.Model):
            return owner
        frame = frame.f_back
    return None
