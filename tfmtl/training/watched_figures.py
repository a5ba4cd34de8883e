"""The figures in the logs of `fit` by which an epoch is chosen."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias, get_args

from tfmtl.checks import check_names

Mode: TypeAlias = Literal["max", "min"]

BETTER: dict[Mode, tuple[str, ...]] = {
    "max": ("auc", "gauc_positives", "gauc_groups", "accuracy", "_ap", "mrr", "ndcg", "recall", "hit"),
    "min": ("loss", "rmse", "mse", "_ne", "brier", "ece", "ece_width"),
}
"""Which way a figure is better, by the end of its name; `@k` apart."""


class WatchedFigures:
    """Reads some figures from the logs, and knows which way each is better.

    Args:
        names: of the logs, such as `"val_click_auc"`.
        mode: `"max"` or `"min"` of all, or by name; of names that are left out it goes by the end of the name: `auc` up, `loss`,
            `rmse` and `mse` down.

    Raises:
        ValueError: no name, one given twice, a mode of something else, or a name whose mode is not known.
    """

    def __init__(self, names: Iterable[str], mode: Mode | Mapping[str, Mode] | None = None):
        self.names = check_names("figures", names)
        given = mode if isinstance(mode, Mapping) else dict.fromkeys(self.names, mode) if mode else {}
        unknown = sorted(set(given) - set(self.names))
        if unknown or not set(given.values()) <= set(get_args(Mode)):
            raise ValueError(
                f"`mode` must be 'max' or 'min', or these by name, of {list(self.names)}. Received: mode={mode!r}"
            )
        self.modes = {name: given.get(name) or _mode_of(name) for name in self.names}

    def read(self, logs: Mapping[str, Any] | None) -> dict[str, float] | None:
        """The figures of an epoch; None where it was not evaluated.

        Raises:
            ValueError: logs that hold some of the figures, or none of them although they hold others of the validation.
        """
        held = logs or {}
        missing = [name for name in self.names if name not in held]
        if not missing:
            return {name: float(held[name]) for name in self.names}
        validated = any(name.startswith("val_") for name in held) or not all(
            name.startswith("val_") for name in self.names
        )
        if len(missing) == len(self.names) and not validated:
            return None
        raise ValueError(
            f"The logs of this epoch lack {missing}. Received: {sorted(held)}. `Validation` stands before this callback."
        )

    def gain(self, name: str, new: float, old: float) -> float:
        """By how much `new` is better than `old`; minus infinity where it is no number."""
        if not math.isfinite(new):
            return -math.inf
        return new - old if self.modes[name] == "max" else old - new


def _mode_of(name: str) -> Mode:
    for mode, endings in BETTER.items():
        if name.split("@")[0].endswith(endings):
            return mode
    raise ValueError(
        f"Which way {name!r} is better is not known by its name: give mode={{{name!r}: 'max'}} or 'min'. Received: mode=None"
    )
