"""What is known of a row's user or item, beside the row."""

import pyarrow as pa
import pyarrow.compute as pc


def joined(rows: pa.Table, described: pa.Table, key: str) -> pa.Table:
    """`rows` with the columns of `described`; null where it does not know the key."""
    place = pc.index_in(rows[key], value_set=described[key].combine_chunks())
    for name in described.column_names:
        if name != key:
            rows = rows.append_column(name, described[name].take(place))
    return rows
