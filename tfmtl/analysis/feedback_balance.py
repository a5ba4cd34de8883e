"""Which users give comparable feedback to two tasks: STEM's view on negative transfer."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tfmtl.schema import Schema
from tfmtl.schema.categorical import MISSING_ID

NAMES = ("{0}_dominant", "comparable", "{1}_dominant")


class FeedbackBalance:
    """Sorts rows by how much of their user's positive feedback went to one task rather than to another.

    ```
    balance(u) = (n_a(u) + 1) / (n_a(u) + n_b(u) + 2)        n_t(u): positive labels of user u for task t in training
    ```

    Users with a balance above `1 - edge` are `"{a}_dominant"`, those below `edge` `"{b}_dominant"`, the others
    `"comparable"`: with one shared embedding, these are the rows where negative transfer shows, since neither task has
    the say. Users whom training never saw are `"unseen"`, as are rows without a user (`""`, -1, None, NaN; row 0 of an
    encoded feature, which all unknown ids share); training leaves these out.

    Args:
        train: batches `(x, y)` of the training set, or one `(x, y)`, weights behind them or not; `x` holds the group
            column, raw or encoded.
        schema: knows the two tasks, both binary.
        tasks: the two tasks, a and b.
        group: the user's column.
        edge: where dominance begins; None takes the balances' lower and upper third.
        encoded: whether integers in a column of a feature are row numbers, as `evaluate` takes them without a
            `preprocessor`; False for raw ids, among which 0 is a user.

    Raises:
        ValueError: not two binary tasks, no row with a user, or an edge outside (0, 0.5).

    Example:

    ```python
    balance = FeedbackBalance(train, schema, tasks=("finish", "like"), group="user_id")
    figures = evaluate(model, test, schema, slices={"feedback": balance})
    figures["feedback=comparable/like_auc"]
    ```

    Reference:
        Su et al., "STEM", AAAI 2024, arXiv:2308.13537, section 1. The paper gives no cutting points; thirds are ours.
    """

    def __init__(
        self,
        train: Iterable[tuple[Any, ...]],
        schema: Schema,
        *,
        tasks: tuple[str, str],
        group: str,
        edge: float | None = None,
        encoded: bool = True,
    ):
        if len(set(tasks)) != 2 or any(schema.task(task).kind != "binary" for task in tasks):
            raise ValueError(f"`tasks` must be two binary tasks. Received: tasks={tasks}")
        if edge is not None and not 0 < edge < 0.5:
            raise ValueError(f"`edge` must be in (0, 0.5). Received: edge={edge}")
        self.tasks = tuple(tasks)
        self.group = group
        users, positives = _positives(train, self.tasks, group)
        known = _known(users, is_row_number=encoded and group in schema.feature_columns)
        if not known.any():
            raise ValueError("`train` holds no row with a user.")
        self.users, place = np.unique(users[known], return_inverse=True)
        counts = np.stack([np.bincount(place, weights=p[known], minlength=len(self.users)) for p in positives])
        self.balance = (counts[0] + 1) / (counts.sum(0) + 2)
        self.edges = (edge, 1 - edge) if edge else tuple(np.quantile(self.balance, [1 / 3, 2 / 3]))

    def __call__(self, x: Mapping[str, Any]) -> np.ndarray:
        """The part that each row of `x` belongs to, `(B,)`, by name."""
        users = _ids(x[self.group])
        place = np.minimum(np.searchsorted(self.users, users), len(self.users) - 1)
        low, high = self.edges
        part = np.where(self.balance[place] > high, 0, np.where(self.balance[place] < low, 2, 1))
        names = np.array([name.format(*self.tasks) for name in NAMES])
        return np.where(self.users[place] == users, names[part], "unseen")


def _positives(train: Iterable[Any], tasks: tuple[str, ...], group: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """The user of every row, and for each task whether the row is a positive; a missing label is none."""
    batches = [train] if isinstance(train, tuple) else train
    users: list[np.ndarray] = []
    found: dict[str, list[np.ndarray]] = {task: [] for task in tasks}
    for x, y, *_ in batches:
        if group not in x:
            raise ValueError(f"The rows lack the column of `group`. Received: group={group!r}; columns: {sorted(x)}")
        users.append(_ids(x[group]))
        for task in tasks:
            found[task].append(np.nan_to_num(np.asarray(y[task], "float64").reshape(-1)) > 0)
    if not users:
        raise ValueError("`train` holds no row with a user.")
    return np.concatenate(users), [np.concatenate(found[task]).astype("float64") for task in tasks]


def _known(users: np.ndarray, *, is_row_number: bool) -> np.ndarray:
    """Which rows have a user, `(B,)`."""
    if users.dtype.kind == "O":
        return users != MISSING_ID["string"]
    known = (users != MISSING_ID["int64"]) & (users == users)  # NaN is no user
    return known & (users != 0) if is_row_number else known


def _ids(column: Any) -> np.ndarray:
    """A column of ids, `(B,)`; strings as objects, which `tf.data` gives as bytes: NumPy's own lose the NULs at their ends."""
    ids = np.asarray(column).reshape(-1)
    if ids.dtype.kind not in "SUO":
        return ids
    values = [value.decode(errors="backslashreplace") if isinstance(value, bytes) else value for value in ids.tolist()]
    held = [value for value in values if value is not None and value == value]
    text = all(isinstance(value, str) for value in held)
    missing = MISSING_ID["string" if text else "int64"]
    return np.array(
        [missing if value is None or value != value else value for value in values], object if text else None
    )
