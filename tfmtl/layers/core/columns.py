"""What every layer that reads encoded columns checks of them."""

from collections.abc import Iterable

from tfmtl.typing import Encoded


def check_columns(columns: Iterable[str], encoded: Encoded) -> None:
    """Raises ValueError unless `encoded` holds all of `columns`."""
    missing = [column for column in columns if column not in encoded]
    if missing:
        raise ValueError(f"The input lacks columns {missing}. Received: keys={sorted(encoded)}")
