"""Columns of ids."""

import os
from collections import Counter
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Literal

from tfmtl.checks import check_option
from tfmtl.schema.names import check_column, check_name
from tfmtl.schema.values import plain, set_counts
from tfmtl.typing import IdDtype, Side

MISSING_ID: dict[str, Any] = {"string": "", "int64": -1}
"""The raw value that stands for "no id", by dtype; it is never part of a vocabulary and pads sequences."""


@dataclass(frozen=True)
class Categorical:
    """A column of ids, each looked up in an embedding table.

    Row 0 of the table belongs to everything unknown: missing values, categories outside the vocabulary and ids
    outside `[0, num_ids)`. Known ids take the rows from 1 on.

    Args:
        name: the column, unless `column` says another.
        vocabulary: the known categories, all `str` or all `int`; `"adapt"` learns them from data (`tfmtl.adapt`).
        num_ids: the column holds integers in `[0, num_ids)`.
        hash_buckets: ids are hashed into this many rows.
        min_count: with `vocabulary="adapt"`, how often a category must occur to get its own row. Rarer ones train row 0.
        dim: width of the embedding.
        table: name of the table; features with the same `table` share one. Defaults to the feature's own.
        embedding: a file of vectors from elsewhere, with which the table starts: `.parquet`, `.npz` or text, as
            `tfmtl.embedding_table(...).load` reads it. A schema holds the file's path and not its numbers: `build` and the
            presets read it once, and from then on they are weights, in every file and export of the model. Vectors in memory
            go to `tfmtl.embedding_table(...).load` once the model is made.
        embedding_digest: SHA-256 of that file, which `adapt` notes and `build` compares.
        trainable: False leaves the table's rows as they are set, for vectors from elsewhere; ids without one then have 0.
        dtype: `"string"` or `"int64"`, of the raw column. Needed only with `hash_buckets` over integers; otherwise known.
        side: what the column describes; the `rank` signature sends the user's side once.
        column: what the column is called in files and tables, where that is no `name`, such as `"hours-per-week"`. Batches,
            requests and weights go by `name`.

    Raises:
        ValueError: none or several of `vocabulary`, `num_ids`, `hash_buckets`; an empty, mixed or repeating
            vocabulary; a count or width below 1; an `embedding` that is no path.
    """

    name: str
    _: KW_ONLY
    vocabulary: tuple[str, ...] | tuple[int, ...] | Literal["adapt"] | None = None
    num_ids: int | None = None
    hash_buckets: int | None = None
    min_count: int = 1
    dim: int = 16
    table: str | None = None
    embedding: str | None = None
    embedding_digest: str | None = None
    trainable: bool = True
    dtype: IdDtype | None = None
    side: Side = "context"
    column: str | None = None

    def __post_init__(self) -> None:
        check_name("feature", self.name)
        check_column(self.name, self.column)
        check_option("side", self.side, Side)
        object.__setattr__(self, "vocabulary", _vocabulary(self.name, self.vocabulary))
        given = [k for k in ("vocabulary", "num_ids", "hash_buckets") if getattr(self, k) is not None]
        if len(given) != 1:
            raise ValueError(
                f"Feature {self.name!r} needs exactly one of `vocabulary`, `num_ids`, `hash_buckets`. Received: {given}"
            )
        set_counts(self, "num_ids", "hash_buckets", optional=True)
        set_counts(self, "min_count", "dim")
        if self.min_count > 1 and self.vocabulary != "adapt":
            raise ValueError(f"`min_count` of {self.name!r} goes with vocabulary='adapt'. Received: {self.min_count}")
        if self.table is not None:
            check_name("table", self.table)
        if self.embedding is not None:
            object.__setattr__(self, "embedding", _path(self.name, self.embedding))
        object.__setattr__(self, "dtype", self._dtype())

    def _dtype(self) -> IdDtype | None:
        check_option("dtype", self.dtype, IdDtype, of=repr(self.name), optional=True)
        known: IdDtype | None = None
        if self.num_ids is not None:
            known = "int64"
        elif isinstance(self.vocabulary, tuple):
            known = _vocabulary_dtype(self.name, self.vocabulary)
        if known is None:
            known = self.dtype or ("string" if self.hash_buckets else None)
        if self.dtype not in (None, known):
            raise ValueError(f"`dtype` of {self.name!r} must be {known!r} or None. Received: dtype={self.dtype!r}")
        return known

    @property
    def is_adapted(self) -> bool:
        """False while the vocabulary has still to be learned."""
        return self.vocabulary != "adapt"

    @property
    def rows(self) -> int:
        """Rows of the table: the known ids, and row 0."""
        if isinstance(self.vocabulary, tuple):
            return len(self.vocabulary) + 1
        known = self.num_ids or self.hash_buckets
        if known is None:
            raise ValueError(
                f"The vocabulary of {self.name!r} was never adapted: call `schema = tfmtl.adapt(schema, dataset)` first."
            )
        return known + 1

    @property
    def table_name(self) -> str:
        """The table the feature reads."""
        return self.table or self.name

    @property
    def columns(self) -> tuple[str, ...]:
        """The raw columns that the feature reads."""
        return (self.name,)

    @property
    def sources(self) -> tuple[str, ...]:
        """What files call them."""
        return (self.column or self.name,)

    def encoded(self) -> "Categorical":
        """The feature as the model sees it, once ids are row numbers: same rows, no vocabulary to carry along."""
        return replace(
            self,
            vocabulary=None,
            num_ids=self.rows - 1,
            hash_buckets=None,
            min_count=1,
            embedding=None,
            embedding_digest=None,
            dtype="int64",
            column=None,
        )


def _path(name: str, embedding: Any) -> str:
    if not isinstance(embedding, str | os.PathLike):
        raise ValueError(
            f"`embedding` of {name!r} must be the path of a file of vectors, which a schema can hold as JSON. Give vectors "
            f"in memory to `tfmtl.embedding_table(model, schema, {name!r}).load(vectors)` once the model is made. Received: "
            f"a {type(embedding).__name__}"
        )
    return os.fspath(embedding)


def _vocabulary(name: str, vocabulary: Any) -> Any:
    """`vocabulary` as a tuple of Python's own values, or as it is where it stands for one."""
    if vocabulary is None or isinstance(vocabulary, str):
        if vocabulary not in (None, "adapt"):
            raise ValueError(
                f"`vocabulary` of {name!r} must be 'adapt' or hold the categories. Received: vocabulary={vocabulary!r}"
            )
        return vocabulary
    if isinstance(vocabulary, (set, frozenset)):
        raise ValueError(
            f"`vocabulary` of {name!r} must have an order, by which its categories get their rows: "
            f"sorted(...). Received: a {type(vocabulary).__name__}"
        )
    return tuple(plain(value) for value in vocabulary)


def _vocabulary_dtype(name: str, vocabulary: tuple[Any, ...]) -> IdDtype:
    kinds = {type(value) for value in vocabulary}
    if kinds not in ({str}, {int}):
        raise ValueError(
            f"The vocabulary of {name!r} must hold strings only or integers only, at least one. "
            f"Received: {len(vocabulary)} values of types {sorted(kind.__name__ for kind in kinds)}"
        )
    if len(set(vocabulary)) != len(vocabulary):
        twice = Counter(vocabulary).most_common(1)[0][0]
        raise ValueError(f"The vocabulary of {name!r} holds a value twice. Received: {twice!r}")
    dtype: IdDtype = "string" if kinds == {str} else "int64"
    if MISSING_ID[dtype] in vocabulary:
        raise ValueError(f"{MISSING_ID[dtype]!r} marks a missing id and cannot be in the vocabulary of {name!r}.")
    return dtype
