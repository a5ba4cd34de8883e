"""Which experts each task listens to."""

from typing import TYPE_CHECKING, Any

from tfmtl.analysis.doctor.mixture_probe import MixtureProbe
from tfmtl.analysis.plots.canvas import COLORS, INK, SOFT, canvas, colors_of
from tfmtl.keras_host import inputs_by_name, keras
from tfmtl.typing import SHARED

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_gates(model: keras.Model, dataset: Any, *, steps: int = 100) -> "Figure":
    """Draws the mean weight that each gate gives each expert, level by level: one bar a task, one colour an owner.

    A bar of one colour is a task that shares nothing, or only shares. The number on its right is the mean entropy of the
    rows' weights over that of an even gate: near 1 every row mixes all experts alike, near 0 every row picks one, whichever
    the mean says.

    Args:
        model: functional, with layers that show their gates (`tfmtl.typing.MixesExperts`), as those of `MMoE`, `CGC` and `PLE`
            do.
        dataset: batches of what the model reads, alone or as `(x, y, ...)`, encoded.
        steps: batches that are read at most.

    Raises:
        ValueError: a model without such layers, or a dataset without batches.
        ImportError: matplotlib is not installed (`tfmtl[plots]`).

    Example:

    ```python
    plot_gates(model, valid.map(preprocessor)).savefig("gates.png")
    ```
    """
    levels = _levels(model, dataset, steps)
    owners = list(dict.fromkeys(owner for level in levels for owner, _ in level.experts))
    colors = colors_of([owner for owner in owners if owner != SHARED]) | {SHARED: COLORS[-1]}
    bars = max(len(level.gates) for level in levels)
    figure, axes = canvas(1, len(levels), width=4.2 * len(levels) + 0.6, height=1.1 + 0.5 * bars)
    for each, level in zip(axes, levels, strict=True):
        for row, gate in enumerate(level.gates.values()):
            left = 0.0
            for place, (owner, number) in enumerate(gate.experts):
                weight = float(gate.mean[place])
                each.barh(row, weight, left=left, height=0.72, color=colors[owner], edgecolor="white", linewidth=1.2)
                if weight > 0.08:
                    text = f"{owner} {number + 1}\n{weight:.2f}"
                    each.text(left + weight / 2, row, text, ha="center", va="center", fontsize=7, color="white")
                left += weight
            each.text(1.02, row, f"{gate.entropy:.2f}", va="center", fontsize=8, color=SOFT)
        each.set_yticks(range(len(level.gates)), list(level.gates))
        each.set_ylim(len(level.gates) - 0.5, -0.5)
        each.set_xlim(0, 1)
        each.set_xlabel("mean gate weight")
        each.set_title(level.name)
        each.tick_params(axis="y", labelcolor=INK)
    return figure


def _levels(model: keras.Model, dataset: Any, steps: int) -> list[Any]:
    """What the gates did, level by level; those without gates are left out."""
    probe, columns = MixtureProbe(model), list(inputs_by_name(model))
    batch = None
    for _, batch in zip(range(steps), dataset, strict=False):
        x = batch[0] if isinstance(batch, tuple) else batch
        probe.add({column: x[column] for column in columns})
    if batch is None:
        raise ValueError("`dataset` gave no batch.")
    levels = [level for level in probe.statistics() if level.gates]
    if not levels:
        raise ValueError(
            "`model` must have a layer that shows its gates (`tfmtl.typing.MixesExperts`), such as those of MMoE, CGC and PLE. "
            f"Received: layers {[layer.name for layer in model.layers if layer.weights]}"
        )
    return levels
