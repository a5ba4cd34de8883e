"""Models and state on disk, whole or not at all."""

import json
import os
from pathlib import Path
from typing import Any

from tfmtl.atomic_file import replacing
from tfmtl.chief import is_chief, own_path
from tfmtl.keras_host import keras

WEIGHTS = ".weights.h5"


def check_model_path(name: str, path: str | os.PathLike[str]) -> Path:
    """`path`; raises ValueError unless it ends as a model or its weights do."""
    if not str(path).endswith((".keras", WEIGHTS)):
        raise ValueError(f"`{name}` must end in '.keras' (the model) or '{WEIGHTS}'. Received: {name}={str(path)!r}")
    return Path(path)


def save_whole(model: keras.Model, path: Path) -> None:
    """Saves a model, or its weights, as the end of `path` says; of several workers, which all call it, the chief."""
    with replacing(own_path(model, path)) as partial:
        # Keras goes by the end of a name.
        ending = WEIGHTS if path.name.endswith(WEIGHTS) else ".keras"
        written = partial.with_name(f"{partial.name}{ending}")
        try:
            if ending == WEIGHTS:
                model.save_weights(written)
            else:
                model.save(written)
            os.replace(written, partial)
        finally:
            written.unlink(missing_ok=True)


def write_state(model: keras.Model, path: Path, state: dict[str, Any]) -> None:
    """Writes JSON beside a model; of several workers the chief does."""
    if not is_chief(model):
        return
    with replacing(path) as partial:
        partial.write_text(json.dumps(state, indent=1), encoding="utf-8")


def read_state(path: Path) -> dict[str, Any] | None:
    """What `write_state` wrote; None where there is nothing."""
    if not path.is_file():
        return None
    state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return state
