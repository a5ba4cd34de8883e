"""What to do about a file that cannot be read, as far as its first bytes, its columns and the error show."""

import re
from collections.abc import Sequence

_STARTS = {
    b"PAR1": "it is a Parquet file, and should be called `.parquet`",
    b"\x1f\x8b": "it is packed, and should be called `.csv.gz`",
    b"\xff\xfe": "it looks like UTF-16: `csv=CsvFormat(encoding='utf-16')`",
    b"\xfe\xff": "it looks like UTF-16: `csv=CsvFormat(encoding='utf-16')`",
}
_DELIMITERS = ";\t|"


def other_format(start: bytes) -> str:
    """What a file is that starts so, if it is no CSV file in UTF-8; else nothing."""
    return next((known for sign, known in _STARTS.items() if start.startswith(sign)), "")


def hint_of_error(text: str, labels: set[str], guessed: set[str], decimal_point: str = ".") -> str:
    """What to do about an error, in brackets; nothing where that is not known.

    Args:
        text: what Arrow or Python said, with our names of columns.
        labels, guessed: the columns of labels, and those of ids of which the schema does not say what they are.
        decimal_point: of the file.
    """
    if "codec can't decode" in text or "UTF8" in text:
        return " (a file that is not UTF-8 needs its encoding, such as `csv=CsvFormat(encoding='latin-1')`)"
    if "Expected 1 columns" in text:
        return hint_of_delimiter(text.partition("got ")[2])
    found = re.search(r"column '(.*?)': .*conversion error to \w+: invalid value '(.*)'", text)
    if found and found[1] in guessed:
        return f' (its first values are integers; `Categorical({found[1]!r}, dtype="string")` takes all for text)'
    if found and "to int64" in text and re.fullmatch(r"[+-]?\d+\.0*", found[2]):
        return " (pandas writes integers with missing values as floats; its type 'Int64' does not)"
    if hint := hint_of_commas(text, decimal_point):
        return hint
    if found and found[1] in labels:
        return f" (a label in words is compared with one: `Task(..., label=({found[1]!r}, {found[2]!r}))`)"
    return ""


def hint_of_delimiter(line: str) -> str:
    """What to do about a line of which all is taken for one value."""
    counts = {mark: line.count(mark) for mark in _DELIMITERS}
    mark = max(counts, key=counts.__getitem__)
    return f" (if {mark!r} stands between values: `csv=CsvFormat(delimiter={mark!r})`)" if counts[mark] else ""


def hint_of_commas(message: str, decimal_point: str = ".") -> str:
    """What to do about a decimal comma, if `message` quotes one and a comma is not what was said to be the point."""
    if decimal_point == ",":
        return " (separators of thousands are not read)" if re.search(r"'[^']*\d[.,]\d[^']*'", message) else ""
    if re.search(r"'[^']*\d,\d[^']*'", message):
        return " (where a comma is the decimal point: `csv=CsvFormat(decimal_point=',')`; separators of thousands are not read)"
    return ""


def hint_of_names(missing: Sequence[str], present: Sequence[str]) -> str:
    """Which names that are there may be meant, in brackets; nothing where none is near."""
    if len(present) == 1:
        return hint_of_delimiter(present[0])
    alike = {name.strip().casefold(): name for name in present}
    near = [alike[name.strip().casefold()] for name in missing if name.strip().casefold() in alike]
    if not near and any(map(_is_written_number, present)):
        return " (a CSV file without a header needs `csv=CsvFormat(column_names=...)`)"
    return f" ({near} differ in blanks or capitals)" if near else ""


def _is_written_number(name: str) -> bool:
    return name.replace(".", "", 1).lstrip("+-").isdigit()
