"""Taobao UserBehavior: what users of a shop viewed, carted, favoured and bought."""

from os import PathLike
from pathlib import Path

import numpy as np

from tfmtl.data.datasets import user_behavior
from tfmtl.data.datasets.published import missing_files
from tfmtl.data.datasets.split import Split
from tfmtl.paths import local_path

_DAY = 86_400
_TEST_DAYS = 2
_PAGE = "https://tianchi.aliyun.com/dataset/649 (with an account of theirs)"


def taobao(
    folder: str | PathLike[str],
    *,
    users: int | None = None,
    length: int = 50,
    negatives: int = 1,
    horizon: int = 6 * 3600,
    dim: int = 16,
    min_count: int = 2,
    seed: int = 0,
) -> Split:
    """Reads Taobao UserBehavior: does a user open an item now, and cart, favour or buy it within hours of that?

    The log has no impressions, so for every view items are drawn that the user never acts on: `tfmtl.data.datasets.user_behavior` says
    how, and what to beware of. The last two of its nine days are to report on, the day before them is to choose settings with.

    Alibaba, Tianchi data set 649, for research. It is given to whoever signs in there, so nothing is downloaded here.

    Args:
        folder: where `UserBehavior.csv` lies, as published, or its columns user_id, item_id, category_id, behavior, timestamp as a
            Parquet file whose name begins with `taobao`.
        users: takes this many users, those of the smallest ids; None takes all.
        length: events kept of each history.
        negatives: items drawn for each view.
        horizon: seconds after a view in which a cart, a favourite or a purchase counts.
        dim: width of every embedding.
        min_count: how often an item must occur in rows and histories to get a row of its own in the table.
        seed: of the drawing.

    Returns:
        Schema and rows.

    Raises:
        FileNotFoundError: a folder that does not hold the log.
        ValueError: a file that is no such log, or an option out of range.

    Example:

    ```python
    split = tfmtl.data.taobao("UserBehavior", users=10_000)
    schema = tfmtl.adapt(split.schema, tfmtl.read(split.train, split.schema, batch_size=8192))
    ```
    """
    events = user_behavior.events(_log(local_path(folder, "folder")), users=users)
    split = user_behavior.END - _TEST_DAYS * _DAY
    before, test = user_behavior.rows(
        events, length=length, negatives=negatives, horizon=horizon, split=split, seed=seed
    )
    first = int(np.searchsorted(before["timestamp"].to_numpy(), split - _DAY))
    schema = user_behavior.schema(length=length, dim=dim, min_count=min_count)
    return Split(schema, before.slice(0, first), before.slice(first), test)


def _log(folder: Path) -> Path:
    """The file of the log."""
    found = [*folder.glob("UserBehavior.csv"), *sorted(folder.glob("taobao*.parquet"))]
    if not found:
        raise missing_files(folder, ["UserBehavior.csv"], "Taobao UserBehavior", _PAGE)
    return found[0]
