"""What a model reads: frozen descriptions of columns, without weights or layers."""

import math
import operator
from collections import Counter
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, fields, replace
from itertools import pairwise
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from tfmtl.spec.names import check_distinct, check_name
from tfmtl.typing import IdDtype, Side

Transform: TypeAlias = Literal["standardize", "log1p", "buckets"]
Pooling: TypeAlias = Literal["mean", "sum", "max"]

MISSING_ID = {"string": "", "int64": -1}
"""The raw value that stands for "no id", by dtype; it is never part of a vocabulary and pads sequences."""


@dataclass(frozen=True)
class Categorical:
    """A column of ids, each looked up in an embedding table.

    Row 0 of the table belongs to everything unknown: missing values, categories outside the vocabulary and ids
    outside `[0, num_ids)`. Known ids take the rows from 1 on.

    Args:
        name: the column.
        vocabulary: the known categories, all `str` or all `int`; `"adapt"` learns them from data (`tfmtl.adapt`).
        num_ids: the column holds integers in `[0, num_ids)`.
        hash_buckets: ids are hashed into this many rows.
        min_count: with `vocabulary="adapt"`, how often a category must occur to get its own row. Rarer ones train row 0.
        dim: width of the embedding.
        table: name of the table; features with the same `table` share one. Defaults to the feature's own.
        dtype: `"string"` or `"int64"`, of the raw column. Needed only with `hash_buckets` over integers; otherwise known.
        side: what the column describes; the `rank` signature sends the user's side once.

    Raises:
        ValueError: none or several of `vocabulary`, `num_ids`, `hash_buckets`; an empty, mixed or repeating
            vocabulary; a count or width below 1.
    """

    name: str
    _: KW_ONLY
    vocabulary: tuple[str, ...] | tuple[int, ...] | Literal["adapt"] | None = None
    num_ids: int | None = None
    hash_buckets: int | None = None
    min_count: int = 1
    dim: int = 16
    table: str | None = None
    dtype: IdDtype | None = None
    side: Side = "context"

    def __post_init__(self) -> None:
        check_name("feature", self.name)
        _check_side(self.side)
        object.__setattr__(self, "vocabulary", _vocabulary(self.name, self.vocabulary))
        given = [k for k in ("vocabulary", "num_ids", "hash_buckets") if getattr(self, k) is not None]
        if len(given) != 1:
            raise ValueError(
                f"Feature {self.name!r} needs exactly one of `vocabulary`, `num_ids`, `hash_buckets`. Received: {given}"
            )
        _set_positive(self, "num_ids", "hash_buckets", "min_count", "dim")
        if self.min_count > 1 and self.vocabulary != "adapt":
            raise ValueError(f"`min_count` of {self.name!r} goes with vocabulary='adapt'. Received: {self.min_count}")
        if self.table is not None:
            check_name("table", self.table)
        object.__setattr__(self, "dtype", self._dtype())

    def _dtype(self) -> IdDtype | None:
        known: IdDtype | None = None
        if self.num_ids is not None:
            known = "int64"
        elif isinstance(self.vocabulary, tuple):
            known = _vocabulary_dtype(self.name, self.vocabulary)
        if known is None:
            known = self.dtype or ("string" if self.hash_buckets else None)
        if self.dtype not in (None, known) or known not in (None, *get_args(IdDtype)):
            raise ValueError(
                f"`dtype` of {self.name!r} must be {known or ' or '.join(get_args(IdDtype))}. Received: dtype={self.dtype!r}"
            )
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

    def encoded(self) -> "Categorical":
        """The feature as the model sees it, once ids are row numbers: same rows, no vocabulary to carry along."""
        return replace(self, vocabulary=None, num_ids=self.rows - 1, hash_buckets=None, min_count=1, dtype="int64")


@dataclass(frozen=True)
class Numeric:
    """A column of numbers. A missing value (NaN) is told apart from every number, unless `flag_missing` is off.

    Args:
        name: the column.
        size: numbers a row; above 1 the column holds lists of this length.
        transform: `"standardize"` (subtract the mean, divide by the standard deviation), `"log1p"`
            (`sign(x) log(1 + |x|)`), `"buckets"` (quantile bins, each with an embedding; bin 0 holds NaN), or None.
        dim: width of the embedding: of a bin, or of a linear map of the numbers. None passes the numbers on as they are,
            `(B, 2 size)`: the values, NaN as 0, and a flag for each that was NaN; `(B, size)` without flags. Buckets take
            16 by default.
        flag_missing: whether there are flags, for all of `size` alike. None, the default, lets `adapt` decide where it learns
            `mean` and `std`: no flags if no value of the column was missing, because no row would train their weights.
            Anywhere else None means flags. Without them a missing value is a 0, which is the mean after `"standardize"`.
            Buckets always have their bin 0.
        num_buckets: bins that `"buckets"` learns; repeated quantiles fall together.
        boundaries: the learned (or given) edges between bins, increasing.
        mean, std: the learned (or given) statistics of `"standardize"`, one for each of `size`.
        side: as in `Categorical`.

    Raises:
        ValueError: an unknown transform or `flag_missing`, `size`, `dim` or `num_buckets` below 1, buckets with
            `size > 1`, boundaries that do not increase, or statistics of the wrong length or with `std <= 0`.
    """

    name: str
    _: KW_ONLY
    size: int = 1
    transform: Transform | None = "standardize"
    dim: int | None = None
    flag_missing: bool | None = None
    num_buckets: int = 64
    boundaries: tuple[float, ...] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    side: Side = "context"

    def __post_init__(self) -> None:
        check_name("feature", self.name)
        _check_side(self.side)
        if self.transform not in (None, *get_args(Transform)):
            raise ValueError(
                f"`transform` of {self.name!r} must be None or one of {get_args(Transform)}. Received: transform={self.transform!r}"
            )
        if self.transform == "buckets":
            if self.size != 1:
                raise ValueError(f"Buckets of {self.name!r} need size=1. Received: size={self.size}")
            if self.dim is None:
                object.__setattr__(self, "dim", 16)
        if not isinstance(self.flag_missing, (bool, np.bool_, type(None))):
            raise ValueError(
                f"`flag_missing` of {self.name!r} must be None, True or False. Received: flag_missing={self.flag_missing!r}"
            )
        if self.flag_missing is not None:
            object.__setattr__(self, "flag_missing", bool(self.flag_missing))
        _set_positive(self, "size", "dim", "num_buckets")
        for field in ("boundaries", "mean", "std"):
            if getattr(self, field) is not None:
                object.__setattr__(self, field, tuple(float(value) for value in getattr(self, field)))
        self._check_statistics()

    def _check_statistics(self) -> None:
        edges = self.boundaries or ()
        if any(not low < high for low, high in pairwise(edges)) or not all(map(math.isfinite, edges)):
            raise ValueError(f"`boundaries` of {self.name!r} must be finite and increase. Received: boundaries={edges}")
        if (self.mean is None) != (self.std is None):
            raise ValueError(f"{self.name!r} needs both `mean` and `std`. Received: mean={self.mean}, std={self.std}")
        if self.mean is not None and self.std is not None:
            finite = all(map(math.isfinite, self.mean + self.std))
            if len(self.mean) != self.size or len(self.std) != self.size or not finite or min(self.std) <= 0:
                raise ValueError(
                    f"`mean` and `std` of {self.name!r} must be {self.size} finite numbers each, std > 0. "
                    f"Received: mean={self.mean}, std={self.std}"
                )

    @property
    def is_adapted(self) -> bool:
        """False while bins or statistics have still to be learned."""
        if self.transform == "buckets":
            return self.boundaries is not None
        return self.transform != "standardize" or self.mean is not None

    @property
    def width(self) -> int:
        """How many numbers the model reads: the values, and their flags if there are some."""
        return self.size if self.flag_missing is False else 2 * self.size

    @property
    def rows(self) -> int:
        """Rows of the bins' table: one more bin than boundaries, and bin 0 for NaN."""
        if self.transform != "buckets" or self.boundaries is None:
            raise ValueError(
                f"{self.name!r} has no bins: transform={self.transform!r}, boundaries={self.boundaries}. Buckets are "
                "learned by `schema = tfmtl.adapt(schema, dataset)`."
            )
        return len(self.boundaries) + 2

    @property
    def columns(self) -> tuple[str, ...]:
        """The raw columns that the feature reads."""
        return (self.name,)

    def encoded(self) -> "Categorical | Numeric":
        """The feature as the model sees it: a bin's number is an id like any other."""
        if self.transform == "buckets":
            return Categorical(self.name, num_ids=self.rows - 1, dim=self.dim or 16, side=self.side)
        return replace(self, transform=None, mean=None, std=None)


@dataclass(frozen=True)
class Sequence:
    """A behaviour history: for each row a list of events, oldest first, each described by one or more ids.

    Column `{name}_{field}` holds the ids of one field; all columns of a row have the same length. Longer histories keep
    their last `length` events; shorter ones are padded, and a mask tells events from padding.

    A set of ids, such as the genres of a film, is a history whose order nobody reads:
    `Sequence("film", [Categorical("genres", ...)], prefix="", ...)` takes it from the column `genres`.

    Args:
        name: the history.
        fields: what describes an event; a field that shares its `table` with a feature is embedded like it.
        length: events kept.
        pooling: how a model that does not read sequences joins the events: `"mean"`, `"sum"` or `"max"` over the events;
            zeros for an empty history.
        prefix: what stands before a field's name in the name of its column; `"{name}_"` by default.
        side: as in `Categorical`.

    Raises:
        ValueError: no field, a field given twice, a column called `{name}_mask` or otherwise no name, `length < 1`, or an
            unknown pooling.
    """

    name: str
    fields: tuple[Categorical, ...]
    _: KW_ONLY
    length: int
    pooling: Pooling = "mean"
    prefix: str | None = None
    side: Side = "context"

    def __post_init__(self) -> None:
        check_name("feature", self.name)
        _check_side(self.side)
        object.__setattr__(self, "fields", tuple(self.fields))
        _set_positive(self, "length")
        if not self.fields or not all(isinstance(field, Categorical) for field in self.fields):
            raise ValueError(f"Sequence {self.name!r} needs one `Categorical` or more. Received: fields={self.fields}")
        check_distinct(f"field of sequence {self.name!r}", (field.name for field in self.fields))
        for column in self.columns:
            check_name(f"column of sequence {self.name!r}", column)
        if self.mask in self.columns:
            raise ValueError(f"No column of sequence {self.name!r} may be called {self.mask!r}: that is its mask.")
        if self.pooling not in get_args(Pooling):
            raise ValueError(
                f"`pooling` of {self.name!r} must be one of {get_args(Pooling)}. Received: pooling={self.pooling!r}"
            )

    @property
    def mask(self) -> str:
        """Name of the encoded mask, `(B, L)` int32, 1 for events and 0 for padding; Keras's own layers take `mask > 0`."""
        return f"{self.name}_mask"

    @property
    def columns(self) -> tuple[str, ...]:
        """The raw columns that the feature reads, one a field."""
        return tuple(self.column(field) for field in self.fields)

    def column(self, field: Categorical) -> str:
        """The column that holds `field`."""
        return f"{self.name}_{field.name}" if self.prefix is None else f"{self.prefix}{field.name}"

    def table_name(self, field: Categorical) -> str:
        """The table that `field` reads: the shared one, or its own."""
        return field.table or self.column(field)

    @property
    def is_adapted(self) -> bool:
        """False while the vocabulary of a field has still to be learned."""
        return all(field.is_adapted for field in self.fields)

    def encoded(self) -> "Sequence":
        """The feature as the model sees it, once ids are row numbers."""
        return replace(self, fields=tuple(field.encoded() for field in self.fields))


Feature: TypeAlias = Categorical | Numeric | Sequence
_KINDS: dict[str, type[Any]] = {"categorical": Categorical, "numeric": Numeric, "sequence": Sequence}


def feature_to_dict(feature: Feature) -> dict[str, Any]:
    """`feature` as JSON types; defaults are left out."""
    kind = next(name for name, cls in _KINDS.items() if type(feature) is cls)
    given = {f.name: getattr(feature, f.name) for f in fields(feature) if getattr(feature, f.name) != f.default}
    if isinstance(feature, Sequence):
        given["fields"] = [feature_to_dict(field) for field in feature.fields]
    return {"kind": kind} | {k: list(v) if isinstance(v, tuple) else v for k, v in given.items()}


def feature_from_dict(description: Mapping[str, Any] | Feature) -> Feature:
    """The feature that `feature_to_dict` described; a feature is returned as it is."""
    if isinstance(description, Feature):
        return description
    arguments = dict(description)
    kind = arguments.pop("kind", None)
    if kind not in _KINDS:
        raise ValueError(f"A feature's `kind` must be one of {sorted(_KINDS)}. Received: kind={kind!r}")
    if kind == "sequence":
        arguments["fields"] = tuple(feature_from_dict(field) for field in arguments["fields"])
    return _KINDS[kind](**arguments)


def _check_side(side: str) -> None:
    if side not in get_args(Side):
        raise ValueError(f"`side` must be one of {get_args(Side)}. Received: side={side!r}")


def _set_positive(feature: Any, *names: str) -> None:
    """Makes the named counts of a feature plain integers, NumPy's too; ValueError unless they are 1 or more."""
    for name in names:
        value = getattr(feature, name)
        if value is None:
            continue
        if not hasattr(value, "__index__") or isinstance(value, (bool, np.bool_)) or operator.index(value) < 1:
            raise ValueError(f"`{name}` of {feature.name!r} must be an integer >= 1. Received: {name}={value!r}")
        object.__setattr__(feature, name, operator.index(value))


def _vocabulary(name: str, vocabulary: Any) -> Any:
    """`vocabulary` as a tuple of Python's own values, or as it is where it stands for one."""
    if vocabulary is None or isinstance(vocabulary, str):
        if vocabulary not in (None, "adapt"):
            raise ValueError(
                f"`vocabulary` of {name!r} must be 'adapt' or hold the categories. Received: vocabulary={vocabulary!r}"
            )
        return vocabulary
    return tuple(value.item() if isinstance(value, np.generic) else value for value in vocabulary)


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
