"""The epochs of which none is better than another in everything."""

from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from tfmtl.keras_host import keras
from tfmtl.training.model_files import WEIGHTS, read_state, save_whole, write_state
from tfmtl.training.pareto_front import pareto_front
from tfmtl.training.watched_figures import Mode, WatchedFigures


class ParetoCheckpoints(keras.callbacks.Callback):
    """Keeps a file of every epoch on the Pareto front of some figures, and deletes those that fall off it.

    An epoch is on the front if no other is as good in every figure and better in one. Whoever decides later what a click is
    worth beside a purchase finds the best epoch among the files, whatever the answer. Put it *after* `Validation`; epochs
    without an evaluation are passed over. A run that resumes goes on from `front.json` in the folder; one that starts anew
    begins with an empty front.

    Under several workers the chief writes; the folder must be one that all of them see.

    Args:
        figures: the names of the figures in the logs, such as `["val_click_auc", "val_buy_auc"]`.
        folder: where the files lie, `epoch_{number}.keras`, and `front.json`.
        mode: `"max"` or `"min"`, for all or by name; None goes by the end of the names: `auc` up, `loss`, `rmse`, `mse` down.
        save_weights_only: whether files hold weights (`.weights.h5`) instead of models.

    Attributes:
        front: `{epoch: its figures}`, epochs from 0.

    Raises:
        ValueError: no figure, one given twice, a mode that is unknown, and logs without the figures.

    Example:

    ```python
    fronts = ParetoCheckpoints(["val_click_auc", "val_buy_auc"], "front")
    model.fit(train, epochs=20, callbacks=[Validation(valid, schema), fronts])
    for epoch, figures in fronts.front.items():
        print(fronts.path_of(epoch), figures)
    ```
    """

    def __init__(
        self,
        figures: Iterable[str],
        folder: str | PathLike[str],
        *,
        mode: Mode | Mapping[str, Mode] | None = None,
        save_weights_only: bool = False,
    ):
        super().__init__()
        self.figures = WatchedFigures(figures, mode)
        self.folder = Path(folder)
        self.ending = WEIGHTS if save_weights_only else ".keras"
        self.front: dict[int, dict[str, float]] = {}
        self._started = False

    def path_of(self, epoch: int) -> Path:
        """The file of an epoch."""
        return self.folder / f"epoch_{epoch + 1:04d}{self.ending}"

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.front, self._started = {}, False

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._started:
            return
        self._started = True
        state = read_state(self.folder / "front.json") or {}
        for number, figures in state.items():
            if epoch > int(number) and set(figures) == set(self.figures.names) and self.path_of(int(number)).exists():
                self.front[int(number)] = figures
            else:  # of another run, or of an epoch that comes again
                self.path_of(int(number)).unlink(missing_ok=True)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        found = self.figures.read(logs)
        if found is None:
            return
        candidates = {**self.front, epoch: found}
        up = {name: mode == "max" for name, mode in self.figures.modes.items()}
        epochs = list(candidates)
        front = {
            epochs[place]: candidates[epochs[place]] for place in pareto_front(list(candidates.values()), maximize=up)
        }
        if epoch in front:
            save_whole(self.model, self.path_of(epoch))
            write_state(
                self.model, self.folder / "front.json", {str(number): figures for number, figures in front.items()}
            )
            for fallen in set(self.front) - set(front):
                self.path_of(fallen).unlink(missing_ok=True)
        self.front = front
