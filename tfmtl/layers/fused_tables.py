"""Embedding tables of one width, kept in one weight and read together."""

from collections.abc import Iterable
from itertools import accumulate
from typing import Any, NamedTuple

from tfmtl.checks import check_count
from tfmtl.initializers import fresh
from tfmtl.keras_host import dtype_of, keras, ops, raw, register_layer
from tfmtl.layers.encoded_columns import check_columns
from tfmtl.schema import Categorical, Feature, Sequence
from tfmtl.schema.features import feature_from_dict, feature_to_dict
from tfmtl.schema.schema import check_features
from tfmtl.tables import add_table, lookup
from tfmtl.typing import Encoded, Tensor


@register_layer
class FusedTables(keras.layers.Layer):
    """Looks up the ids of a row in one gather for each embedding width.

    Tables of one width lie behind each other in one `(rows, width)` weight; an id is moved by its table's first row. So a
    training step has one lookup and one sparse gradient a width, whatever the number of features, and features that name
    the same `table` share its rows. Outside of training the columns of features with `side="user"` are looked up apart from
    the others: where one user is ranked against many candidates, that lookup has one row.

    Tables with `trainable=False` lie in weights of their own, which no optimizer is given.

    Args:
        features: categorical features, and sequences of them; others are not looked up.
        copies: widths to store side by side: a row holds `copies * dim` numbers. STEM keeps one for each stream.
        initializer: of the rows.
        regularizer: of the whole weight, at every step, if it is trained: a cost that grows with the table.

    Input shape:
        `{column: (B,)}` int32 row numbers, `{column: (B, L)}` for the fields of a sequence. A number outside of the
        column's table is read as row 0, like everything unknown.

    Output shape:
        `{column: (B, copies * dim)}`, `{column: (B, L, copies * dim)}`.

    Raises:
        ValueError: `copies < 1`, a column missing from the input, or what a schema refuses of its features.
    """

    def __init__(
        self,
        features: Iterable[Any],
        *,
        copies: int = 1,
        initializer: Any = "uniform",
        regularizer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        read = [feature_from_dict(feature) for feature in features]
        self.features = tuple(f.encoded() for f in read if isinstance(f, (Categorical, Sequence)))
        check_features(self.features)
        self.copies = check_count("copies", copies)
        self.initializer = keras.initializers.get(initializer)
        self.regularizer = keras.regularizers.get(regularizer)
        self.groups = _group_by_weight(self.features)
        self.events = {column for f in self.features if isinstance(f, Sequence) for column in f.id_columns}

    def build(self, input_shape: Any) -> None:
        self.tables = {}
        for key, group in self.groups.items():
            self.tables[key] = add_table(
                self,
                f"table_{key}",
                (group.rows, self.copies * group.dim),
                fresh(self.initializer, group.dim, *(() if group.trainable else ("frozen",))),
                regularizer=self.regularizer if group.trainable else None,
                trainable=group.trainable,
            )
        self.built = True

    def call(self, encoded: Encoded, training: bool | None = None) -> Encoded:
        check_columns(self.columns, encoded)
        found: Encoded = {}
        for key, group in self.groups.items():
            for columns in group.looked_up_together(training):
                ids = self._ids(columns, encoded)
                found.update(zip(columns, _parts(self._look_up(key, ids), list(ids.values())), strict=True))
        return found

    def blocks(self, encoded: Encoded) -> dict[str, Tensor]:
        """What was looked up of each weight, `(B, N, copies * dim)`: the ids of its columns in the order of the features."""
        check_columns(self.columns, encoded)
        return {key: self._look_up(key, self._ids(group.columns, encoded)) for key, group in self.groups.items()}

    def _look_up(self, key: str, ids: Encoded) -> Tensor:
        table, columns = self.tables[key], self.groups[key].columns
        flat = {name: _as_rows(column, columns[name].rows) for name, column in ids.items()}
        moved = ops.concatenate(list(flat.values()), axis=1) if len(flat) > 1 else next(iter(flat.values()))
        places = [columns[name] for name, column in flat.items() for _ in range(column.shape[1])]  # one an id of a row
        first = ops.convert_to_tensor([[place.first_row for place in places]], dtype="int32")
        rows = ops.convert_to_tensor([[place.rows for place in places]], dtype="int32")
        # An id that no preprocessor made must not read another feature's rows.
        known = ops.logical_and(moved >= 0, moved < rows)
        rows_found = lookup(table, ops.where(known, moved, 0) + first)  # (B, N, copies * D)
        return ops.cast(rows_found, self.compute_dtype)

    def _ids(self, columns: Iterable[str], encoded: Encoded) -> dict[str, Tensor]:
        """The ids of each column: `(B,)`, or `(B, L)` of a sequence."""
        found = {}
        for column in columns:
            ids = encoded[column]
            if column in self.events:
                expected, fits = "(B, L)", len(ids.shape) == 2
            else:
                if len(ids.shape) == 2 and ids.shape[1] == 1:
                    ids = ids[:, 0]
                expected, fits = "(B,) or (B, 1)", len(ids.shape) == 1
            if not fits:
                raise ValueError(f"Column {column!r} must be {expected}. Received: shape={tuple(ids.shape)}")
            found[column] = ids
        return found

    @property
    def num_rows(self) -> dict[str, int]:
        """`{table: its rows}`."""
        return {table: place.rows for group in self.groups.values() for table, place in group.tables.items()}

    @property
    def columns(self) -> list[str]:
        """All columns that are looked up."""
        return [column for group in self.groups.values() for column in group.columns]

    @property
    def dims(self) -> dict[str, int]:
        """`{table: the width of a copy}`."""
        return {table: group.dim for group in self.groups.values() for table in group.tables}

    def place_of(self, table: str) -> tuple[Any, slice]:
        """The weight that holds a table, and which of its rows are the table's."""
        for key, group in self.groups.items():
            if table in group.tables:
                place = group.tables[table]
                return self.tables[key], slice(place.first_row, place.first_row + place.rows)
        raise ValueError(f"No such table. Received: table={table!r}; known: {sorted(self.num_rows)}")

    def take_copies(self, source: "FusedTables", copies: Iterable[int]) -> None:
        """Fills all copies with those of `source` that stand at the places `copies`.

        Args:
            source: built, of the same features.
            copies: a place for each copy.
        """
        for width, table in self.tables.items():
            table.assign(take_chunks(source.tables[width], source.copies, copies))

    def compute_output_shape(self, input_shape: Any) -> dict[str, tuple[int | None, ...]]:
        return {
            column: (*input_shape[column][: 2 if column in self.events else 1], self.copies * group.dim)
            for group in self.groups.values()
            for column in group.columns
        }

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "features": [feature_to_dict(feature) for feature in self.features],
            "copies": self.copies,
            "initializer": keras.initializers.serialize(self.initializer),
            "regularizer": keras.regularizers.serialize(self.regularizer) if self.regularizer else None,
        }


class _Place(NamedTuple):
    """Where a table's rows lie in the weight."""

    first_row: int
    rows: int


class _Group:
    """The tables of one weight, which have one width and are trained or not, and the columns that read them."""

    def __init__(self, dim: int, trainable: bool) -> None:
        self.dim = dim
        self.trainable = trainable
        self.rows = 0
        self.tables: dict[str, _Place] = {}  # in the order of the rows
        self.columns: dict[str, _Place] = {}
        self.user_columns: list[str] = []

    def add(self, column: str, table: str, rows: int, side: str | None) -> None:
        """Gives `column` the rows of `table`, which are added if they are new."""
        if table not in self.tables:
            self.tables[table] = _Place(self.rows, rows)
            self.rows += rows
        self.columns[column] = self.tables[table]
        if side == "user":
            self.user_columns.append(column)

    def looked_up_together(self, training: bool | None) -> list[list[str]]:
        """The columns of each gather."""
        others = [column for column in self.columns if column not in self.user_columns]
        return [list(self.columns)] if training else [each for each in (self.user_columns, others) if each]


def weight_of(field: Categorical) -> str:
    """The key of the weight that a field's table lies in."""
    return str(field.dim) if field.trainable else f"{field.dim}_frozen"


def _group_by_weight(features: Iterable[Feature]) -> dict[str, _Group]:
    groups: dict[str, _Group] = {}
    for feature in features:
        if isinstance(feature, Categorical):
            fields = {feature.name: (feature, feature.table_name)}
        elif isinstance(feature, Sequence):
            fields = {feature.column(field): (field, feature.table_name(field)) for field in feature.fields}
        else:
            continue
        for column, (field, table) in fields.items():
            group = groups.setdefault(weight_of(field), _Group(field.dim, field.trainable))
            group.add(column, table, field.rows, feature.side)
    return groups


def _as_rows(ids: Tensor, rows: int) -> Tensor:
    """Ids as int32, `(B, L)`; a larger type may hold numbers that would become others' rows."""
    ids = ids[:, None] if len(ids.shape) == 1 else ids
    if dtype_of(ids) == "int32":
        return ids
    return ops.cast(ops.where(ops.logical_and(ids >= 0, ids < rows), ids, -ops.ones_like(ids)), "int32")


def _parts(block: Tensor, ids: list[Tensor]) -> list[Tensor]:
    """What of a block, `(B, N, W)`, belongs to each of `ids`: `(B, W)`, or `(B, L, W)` for a sequence."""
    if all(len(i.shape) == 1 for i in ids):
        return ops.unstack(block, len(ids), axis=1)  # cheaper than slices, on the way back above all
    parts = cut(block, [1 if len(i.shape) == 1 else i.shape[1] for i in ids])
    return [part[:, 0] if len(i.shape) == 1 else part for i, part in zip(ids, parts, strict=True)]


def cut(block: Tensor, sizes: list[int]) -> list[Tensor]:
    """Parts of a block, `(B, N, W)`, with as many ids as `sizes` says."""
    return ops.split(block, list(accumulate(sizes[:-1])), axis=1) if len(sizes) > 1 else [block]


def take_chunks(weight: Any, num: int, chosen: Iterable[int]) -> Tensor:
    """Of a weight whose last axis holds `num` chunks of one size side by side, those that are chosen."""
    size = weight.shape[-1] // num
    columns = [chunk * size + column for chunk in chosen for column in range(size)]
    return ops.take(raw(weight), columns, axis=-1)
