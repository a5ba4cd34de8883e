"""How a CSV file is written."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv

from tfmtl.schema.values import several


@dataclass(frozen=True)
class CsvFormat:
    """How CSV files are written, where they are not as `read` expects them: commas, a header, UTF-8.

    Args:
        delimiter: between values; None is a tab in files whose names end in `.tsv` or `.tsv.gz`, and else a comma. Where it is
            two of one character, such as MovieLens's `::`, give that and `column_names` with `""` for every other column.
        quote: around values that hold the delimiter or the end of a line; twice within such a value. None: no value is quoted.
        encoding: as Python calls it, such as `"latin-1"`, `"cp1252"` or `"utf-16"`.
        column_names: of files without a header.
        missing: what stands for no value in columns of numbers and integers, and in texts of them, beside nothing, NA, NaN, NULL
            and their kin.
        decimal_point: of numbers, also of weights and vectors in texts (`0,1|0,7`), which then come out with a point. Numbers
            have no separators of thousands.

    Raises:
        ValueError: a delimiter, quote or decimal point of more than one character, or an encoding that Python does not know.

    Example:

    >>> from pathlib import Path
    >>> from tfmtl.data import CsvFormat, read
    >>> from tfmtl.schema import Categorical, Schema, Task
    >>> Path("rows.csv").write_bytes("Zürich;1\\nGenève;0\\n".encode("latin-1"))
    18
    >>> schema = Schema([Categorical("city", vocabulary=("Zürich", "Genève"))], [Task("click")])
    >>> written = CsvFormat(delimiter=";", encoding="latin-1", column_names=("city", "click"))
    >>> x, y = next(iter(read("rows.csv", schema, batch_size=2, csv=written, encode=True)))
    >>> x["city"].numpy().tolist()
    [1, 2]
    """

    delimiter: str | None = None
    quote: str | None = '"'
    encoding: str = "utf-8"
    column_names: tuple[str, ...] | None = None
    missing: tuple[str, ...] = ()
    decimal_point: str = "."

    def __post_init__(self) -> None:
        for name in ("delimiter", "quote", "decimal_point"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and len(value) == 1):
                raise ValueError(f"`{name}` must be one character. Received: {name}={value!r}")
        try:
            "".encode(self.encoding)
        except (LookupError, TypeError) as error:
            raise ValueError(
                f"`encoding` must be one that Python knows. Received: encoding={self.encoding!r}"
            ) from error
        for name in ("column_names", "missing"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, several(name, getattr(self, name)))

    def parse_options(self, file: str, invalid_row: Callable[[Any], str] | None = None) -> pa_csv.ParseOptions:
        """Arrow's, for one file. Quoted text may go over several lines, also where a block ends.

        `invalid_row` is told of lines with another number of values and says what becomes of them.
        """
        tabs = file.lower().endswith((".tsv", ".tsv.gz"))
        return pa_csv.ParseOptions(
            delimiter=self.delimiter or ("\t" if tabs else ","),
            quote_char=self.quote or False,
            newlines_in_values=self.quote is not None,
            invalid_row_handler=invalid_row,
        )

    def null_values(self) -> list[str]:
        """What stands for no number."""
        return [*pa_csv.ConvertOptions().null_values, *self.missing]

    def read_options(self, block_size: int, *, threads: bool) -> pa_csv.ReadOptions:
        """Arrow's."""
        names = None if self.column_names is None else list(self.column_names)
        return pa_csv.ReadOptions(
            block_size=block_size, use_threads=threads, encoding=self.encoding, column_names=names
        )

    def convert_options(self, types: pa.Schema | None = None) -> pa_csv.ConvertOptions:
        """Arrow's, for columns of known types, null where the file lacks one; for all columns where `types` is None."""
        return pa_csv.ConvertOptions(
            column_types=types,
            include_columns=None if types is None else types.names,
            include_missing_columns=types is not None,
            null_values=self.null_values(),
            decimal_point=self.decimal_point,
        )
