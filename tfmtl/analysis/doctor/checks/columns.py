"""Vocabularies that cover too little of the data."""

from collections.abc import Iterator

import numpy as np

from tfmtl.analysis.doctor.examination import Examination
from tfmtl.analysis.doctor.finding import Finding
from tfmtl.analysis.doctor.rows import Rows, columns_read
from tfmtl.schema import Categorical, Schema, Sequence

UNKNOWN = 0.3
"""A column in which every third id reads the row of all that is unknown tells few rows apart."""

DRIFT = 0.1
"""So much more of the ids are unknown here than in the training rows: they are other rows."""


def unknown_ids(examined: Examination) -> Iterator[Finding]:
    """Columns of ids of which a large part, or a much larger part than in training, reads row 0."""
    here = _unknown(examined.rows, examined.schema)
    there = _unknown(examined.train, examined.schema) if examined.train is not None else {}
    for name, (share, total) in here.items():
        before = there.get(name, (share, 0))[0]
        if share > UNKNOWN or share - before > DRIFT:
            told = "unknown" if name in examined.rows.missing else "unknown or missing"
            yield Finding(
                "unknown_ids",
                "warning",
                name,
                f"{share:.1%} of the ids of {name!r} are {told} and share one row of its table"
                + (f"; in the training rows {before:.1%} are." if there else "."),
                "Adapt the vocabulary to rows like these (`adapt`, or `extend` one that is in use), lower `min_count`, or use "
                "`hash_buckets`; look at the type and spelling of the ids. A column that is missing in most rows carries little.",
                (),
                {"share": share, "ids": total, **({"share_in_training": before} if there else {})},
            )


def _unknown(rows: Rows, schema: Schema) -> dict[str, tuple[float, int]]:
    """`{column: (share of its ids that read row 0, ids)}`; padding, and what is known to be missing, left out."""
    found = {}
    for name, feature in columns_read(schema).items():
        ids = rows.columns.get(name)
        if ids is None or ids.dtype.kind not in "iu" or not isinstance(feature, Categorical | Sequence):
            continue
        if isinstance(feature, Sequence):
            if feature.mask not in rows.columns:
                continue
            ids = ids[rows.columns[feature.mask] > 0]
        elif name in rows.missing:
            ids = ids.reshape(-1)[~rows.missing[name]]
        if ids.size:
            found[name] = (float(np.mean(ids == 0)), int(ids.size))
    return found
