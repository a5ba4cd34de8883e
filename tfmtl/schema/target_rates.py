"""How often the labels of an id were positive, as numbers."""

import base64
import zlib
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from tfmtl.checks import check_option
from tfmtl.schema.categorical import Categorical
from tfmtl.schema.names import check_name
from tfmtl.schema.numeric import Numeric
from tfmtl.schema.values import plain, set_counts
from tfmtl.typing import IdDtype, Side


@dataclass(frozen=True)
class TargetRates:
    """What is known of an id before the row: how often each task's label was positive for this user, author or tag.

    An embedding of an id that occurs seven times is mostly noise, the rate of its clicks is not. For every id, over
    the rows that training counts,

    ```
    z_t = logit((positives_t + m p_t) / (labelled_t + m)) - logit(p_t)     for every binary task t
    e   = n / (n + m)                                                      n: the most of `labelled_t`
    ```

    with the base rate `p_t` and `m = smoothing`: 0 where nothing is known, as of a new id, and the model reads
    `[z_1, ..., z_T, e]`. A row that is trained on must not see its own label. `tfmtl.adapt` therefore deals rows into
    `num_folds` folds by a hash of their ids, and `Preprocessor` gives a row that comes with labels what the other folds
    hold; a row without labels, as a server gets it, sees all of them. Rows that repeat all ids are in one fold.

    The rates are data, not weights: a schema that was adapted to newer rows fits the same model.

    Args:
        name: the feature.
        column: the raw column of ids, which other features may read too.
        tasks: whose labels count, binary ones; None, the default, is all binary tasks of the schema.
        smoothing: `m`, in rows: an id with so many is believed half.
        min_count: how often an id must occur to be known.
        num_folds: at least 2. More folds bring what training sees closer to what a server sees.
        fold_columns: the columns of ids whose hash deals the rows; `adapt` takes those of all `Categorical`s unless some are
            given.
        dtype: `"string"` or `"int64"`, of the raw column; learned.
        side: as in `Categorical`.
        vocabulary, base_rates, counts: what `adapt` learns: the known ids, `p_t`, and positives and labelled rows of each
            fold, id and task, compressed.

    Raises:
        ValueError: no task, a smoothing that is not positive, less than two folds, fewer than 1 for `min_count`, or
            learned values that do not fit each other.

    Example:

    >>> from tfmtl import Categorical, Schema, Task, adapt
    >>> from tfmtl.data import Preprocessor
    >>> from tfmtl.schema import TargetRates
    >>> schema = Schema(
    ...     [Categorical("item", vocabulary="adapt"), TargetRates("user_rates", column="user", side="user")], [Task("click")]
    ... )
    >>> rows = {"user": ["ann"] * 30 + ["bob"] * 30, "item": [str(i % 7) for i in range(60)]}
    >>> schema = adapt(schema, [(rows, {"click": [1.0] * 20 + [0.0] * 40})])
    >>> served = Preprocessor(schema.features)({"user": ["ann", "bob", "new"], "item": ["1", "1", "1"]})
    >>> [[round(number, 2) for number in row] for row in served["user_rates"].numpy().tolist()]
    [[0.83, 0.6], [-1.18, 0.6], [0.0, 0.0]]

    Reference:
        Micci-Barreca, "A preprocessing scheme for high-cardinality categorical attributes in classification and
        prediction problems", SIGKDD Explorations 2001, equation 4, with the rates as log odds. Folds by a hash of the
        row are ours: the graph needs no number of the row.
    """

    name: str
    _: KW_ONLY
    column: str
    tasks: tuple[str, ...] | None = None
    smoothing: float = 20.0
    min_count: int = 2
    num_folds: int = 5
    fold_columns: tuple[str, ...] | None = None
    dtype: IdDtype | None = None
    side: Side = "context"
    vocabulary: tuple[str, ...] | tuple[int, ...] | None = None
    base_rates: tuple[float, ...] | None = None
    counts: str | None = None

    def __post_init__(self) -> None:
        check_name("feature", self.name)
        check_option("side", self.side, Side)
        check_option("dtype", self.dtype, IdDtype, of=repr(self.name), optional=True)
        for field in ("tasks", "fold_columns"):
            object.__setattr__(self, field, _names(self.name, field, getattr(self, field)))
        set_counts(self, "min_count", "num_folds")
        if self.num_folds < 2:
            raise ValueError(f"`num_folds` of {self.name!r} must be >= 2. Received: num_folds={self.num_folds}")
        object.__setattr__(self, "smoothing", float(self.smoothing))
        if not 0 < self.smoothing < float("inf"):
            raise ValueError(f"`smoothing` of {self.name!r} must be > 0. Received: smoothing={self.smoothing}")
        self._check_learned()

    def _check_learned(self) -> None:
        learned = [getattr(self, name) is not None for name in ("vocabulary", "base_rates", "counts")]
        if not any(learned):
            return
        if not all(learned) or None in (self.tasks, self.fold_columns, self.dtype):
            raise ValueError(
                f"{self.name!r} needs `vocabulary`, `base_rates`, `counts`, `tasks`, `fold_columns` and `dtype`, all of them "
                "as `tfmtl.adapt` learned them, or none of the first three."
            )
        object.__setattr__(self, "vocabulary", tuple(plain(value) for value in self.vocabulary or ()))
        object.__setattr__(self, "base_rates", tuple(float(rate) for rate in self.base_rates or ()))
        if len(self.base_rates or ()) != len(self.tasks or ()) or not all(0 < r < 1 for r in self.base_rates or ()):
            raise ValueError(
                f"`base_rates` of {self.name!r} must be one in (0, 1) for each of {self.tasks}. Received: {self.base_rates}"
            )
        self.counted()

    @property
    def is_adapted(self) -> bool:
        """False while the rates have still to be learned."""
        return self.counts is not None

    @property
    def columns(self) -> tuple[str, ...]:
        """The raw columns that the feature reads."""
        return (self.column,)

    @property
    def sources(self) -> tuple[str, ...]:
        """What files call them; a feature of that name may say otherwise."""
        return (self.column,)

    @property
    def size(self) -> int:
        """How many numbers the model reads."""
        return len(self.tasks or ()) + 1

    def ids(self) -> Categorical:
        """The ids as a categorical: row 0 for what is not known."""
        return Categorical(self.name, vocabulary=self.vocabulary, dtype=self.dtype)

    def encoded(self) -> Numeric:
        """The feature as the model sees it: numbers, none of which is ever missing.

        Raises:
            ValueError: rates that were never adapted.
        """
        if not self.is_adapted:
            raise ValueError(
                f"The rates of {self.name!r} were never adapted: call `schema = tfmtl.adapt(schema, dataset)` first."
            )
        return Numeric(self.name, size=self.size, transform=None, flag_missing=False, side=self.side)

    def counted(self) -> np.ndarray:
        """Positives and labelled rows, `(num_folds, ids, T, 2)`, int64."""
        shape = (self.num_folds, len(self.vocabulary or ()), len(self.tasks or ()), 2)
        counts = np.frombuffer(zlib.decompress(base64.b85decode(self.counts or "")), "<i4")
        if counts.size != np.prod(shape):
            raise ValueError(f"`counts` of {self.name!r} must hold {shape} numbers. Received: {counts.size}")
        return counts.reshape(shape).astype("int64")

    def rates(self, counts: np.ndarray) -> np.ndarray:
        """`(..., T, 2)` positives and labelled rows -> `(..., T + 1)`: the equation above."""
        positives, labelled = counts[..., 0], counts[..., 1]
        base = np.asarray(self.base_rates)
        # The difference of both log odds; this form is exactly 0 where nothing was counted.
        log_odds = np.log1p(positives / (self.smoothing * base))
        log_odds -= np.log1p((labelled - positives) / (self.smoothing * (1 - base)))
        rows = labelled.max(axis=-1, keepdims=True)
        return np.concatenate([log_odds, rows / (rows + self.smoothing)], axis=-1)


def packed_counts(counts: np.ndarray) -> str:
    """Counts as `TargetRates.counts` holds them."""
    return base64.b85encode(zlib.compress(np.ascontiguousarray(counts, "<i4").tobytes(), 9)).decode()


def _names(feature: str, field: str, names: Any) -> tuple[str, ...] | None:
    if names is None:
        return None
    names = (names,) if isinstance(names, str) else tuple(names) if isinstance(names, Iterable) else (names,)
    if not names or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise ValueError(f"`{field}` of {feature!r} must be distinct names, one at least. Received: {field}={names!r}")
    return names
