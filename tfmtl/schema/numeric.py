"""Columns of numbers."""

import math
import re
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, replace
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import numpy as np

from tfmtl.checks import check_option
from tfmtl.schema.categorical import Categorical
from tfmtl.schema.names import check_column, check_name, check_separator
from tfmtl.schema.values import set_counts
from tfmtl.typing import Side

Transform: TypeAlias = Literal["standardize", "log1p", "buckets"]


@dataclass(frozen=True)
class Numeric:
    """A column of numbers. A missing value (NaN) is told apart from every number, unless `flag_missing` is off.

    Args:
        name: the column, unless `column` says another.
        size: numbers a row; above 1 the column holds lists of this length, or, with a `separator`, texts. A row without a list,
            or with an empty one, lacks the whole vector.
        transform: `"standardize"` (subtract the mean, divide by the standard deviation), `"log1p"`
            (`sign(x) log(1 + |x|)`), `"buckets"` (quantile bins, each with an embedding; bin 0 holds NaN), or None.
        dim: width of the embedding: of a bin, or of a linear map of the numbers. None passes the numbers on as they are,
            `(B, 2 size)`: the values, NaN as 0, and a flag for each that was NaN; `(B, size)` without flags, `(B, size + 1)`
            with one. Buckets take 16 by default.
        flag_missing: whether there are flags, for all of `size` alike. None, the default, lets `adapt` decide where it learns
            `mean` and `std`: no flags if no value of the column was missing, because no row would train their weights.
            Anywhere else None means flags. Without them a missing value is a 0, which is the mean after `"standardize"`.
            `"row"` has one flag, that any of them was missing: vectors of a text or an image are there as a whole or not at
            all. Buckets always have their bin 0.
        num_buckets: bins that `"buckets"` learns; repeated quantiles fall together.
        boundaries: the learned (or given) edges between bins, increasing.
        mean, std: the learned (or given) statistics of `"standardize"`, one for each of `size`; a number stands for one.
        separator: what stands between the numbers where a column holds them in one text, `0.1|0.2|0.3`, in files, tables and
            requests alike; brackets around them, `[0.1, 0.2, 0.3]`, are left out, and `" "` stands for any white space, as NumPy
            writes its arrays. None where the column holds lists. Nothing, NaN, null or None in the place of a number, or of all
            of them, is missing. A file is refused whose text holds anything else, or more or fewer numbers than `size`; a
            served model takes the one for a missing number and the other for a missing vector. Requests write a decimal point,
            whatever files write (`CsvFormat.decimal_point`).
        side, column: as in `Categorical`.

    Raises:
        ValueError: an unknown transform or `flag_missing`, `size`, `dim` or `num_buckets` below 1, buckets with
            `size > 1`, a `separator` with `size=1` or of what numbers hold, boundaries that do not increase, statistics under
            another transform, or of the wrong length or with `std <= 0`.
    """

    name: str
    _: KW_ONLY
    size: int = 1
    transform: Transform | None = "standardize"
    dim: int | None = None
    flag_missing: bool | Literal["row"] | None = None
    num_buckets: int = 64
    boundaries: tuple[float, ...] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    separator: str | None = None
    side: Side = "context"
    column: str | None = None

    def __post_init__(self) -> None:
        check_name("feature", self.name)
        check_column(self.name, self.column)
        check_option("side", self.side, Side)
        check_option("transform", self.transform, Transform, of=repr(self.name), optional=True)
        if self.transform == "buckets":
            if self.size != 1:
                raise ValueError(f"Buckets of {self.name!r} need size=1. Received: size={self.size}")
            if self.dim is None:
                object.__setattr__(self, "dim", 16)
        if isinstance(self.flag_missing, np.bool_):
            object.__setattr__(self, "flag_missing", bool(self.flag_missing))
        if self.flag_missing != "row" and not isinstance(self.flag_missing, (bool, type(None))):
            raise ValueError(
                f"`flag_missing` of {self.name!r} must be None, True, False or 'row'. Received: "
                f"flag_missing={self.flag_missing!r}"
            )
        set_counts(self, "dim", optional=True)
        set_counts(self, "size", "num_buckets")
        self._check_separator()
        for field in ("boundaries", "mean", "std"):
            if getattr(self, field) is not None:
                object.__setattr__(self, field, _floats(getattr(self, field)))
        self._check_statistics()

    def _check_separator(self) -> None:
        """Raises ValueError unless what separates numbers is no part of any."""
        check_separator(self.name, "separator", self.separator)
        if self.separator is not None and (self.size == 1 or re.search(r"[\d.eE+-]", self.separator)):
            raise ValueError(
                f"`separator` of {self.name!r} goes with size > 1, and holds nothing that numbers hold. "
                f"Received: separator={self.separator!r}, size={self.size}"
            )

    def _check_statistics(self) -> None:
        for names, transform in ((("boundaries",), "buckets"), (("mean", "std"), "standardize")):
            given = [name for name in names if getattr(self, name) is not None]
            if given and self.transform != transform:
                raise ValueError(
                    f"{given} of {self.name!r} go with transform={transform!r}. Received: transform={self.transform!r}"
                )
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
        if self.flag_missing == "row":
            return self.size + 1
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

    @property
    def sources(self) -> tuple[str, ...]:
        """What files call them."""
        return (self.column or self.name,)

    def encoded(self) -> "Categorical | Numeric":
        """The feature as the model sees it: a bin's number is an id like any other.

        Raises:
            ValueError: bins or statistics that were never adapted.
        """
        if self.transform == "buckets":
            return Categorical(self.name, num_ids=self.rows - 1, dim=self.dim or 16, side=self.side)
        if not self.is_adapted:
            raise ValueError(
                f"The mean of {self.name!r} was never adapted: call `schema = tfmtl.adapt(schema, dataset)` first."
            )
        return replace(self, transform=None, mean=None, std=None, separator=None, column=None)


def _floats(values: Any) -> tuple[float, ...]:
    """One number or several as a tuple of Python's own."""
    return tuple(float(value) for value in (values if isinstance(values, Iterable) else (values,)))
