"""Columns of lists of ids."""

from dataclasses import KW_ONLY, dataclass, replace
from typing import Literal, TypeAlias

from tfmtl.checks import check_option, check_units
from tfmtl.schema.categorical import Categorical
from tfmtl.schema.names import check_distinct, check_name, check_separator
from tfmtl.schema.values import set_counts, several
from tfmtl.typing import Side

Pooling: TypeAlias = Literal["mean", "sum", "max", "attention"]
AttentionActivation: TypeAlias = Literal["prelu", "dice", "sigmoid"]


@dataclass(frozen=True)
class Sequence:
    """A behaviour history: for each row a list of events, oldest first, each described by one or more ids.

    Column `{name}_{field}` holds the ids of one field; all columns of a row have the same length. Longer histories keep
    their last `length` events; shorter ones are padded, and a mask tells events from padding.

    A set of ids, such as the genres of a film, is a history whose order nobody reads:
    `Sequence("film", [Categorical("genres", ...)], prefix="", ...)` takes it from the column `genres`. Where that column holds
    one text, `action|drama`, `separator="|"` takes it apart, in files, tables and requests alike.

    Events may count by a number each: tags that come with a score, ids with a dwell time. The numbers stand in a column of
    their own, `weights`, or beside the ids in one text, `action:0.3|drama:0.7`, with `weight_separator=":"`. With weights w
    and vectors e

    ```
    sum         sum_l w_l e_l
    mean        sum_l w_l e_l / sum_l w_l          zeros where the weights sum to 0
    max         max_l w_l e_l                      entry by entry; a weight of 0 stands for a vector of zeros
    attention   sum_l w_l a_l e_l
    ```

    and `DTRNRepresentation`, which pools for every task, takes a mean by the products of weights and attention. A weight that
    is missing, or not finite, is 1, and so are all of a row that has none.

    Args:
        name: the history.
        fields: what describes an event; a field that shares its `table` with a feature is embedded like it.
        length: events kept.
        pooling: how a model that does not read sequences joins the events: `"mean"`, `"sum"` or `"max"` over the events, or
            `"attention"`, a sum in which each event counts as much as it has to do with the `target` (DIN's activation unit,
            `tfmtl.layers.ActivationUnit`); zeros for an empty history.
        target: with `pooling="attention"`, name of the feature that describes the item at hand as an event is described, or
            names, together as wide as the fields. They usually share the fields' tables.
        attention_units, attention_activation, attention_softmax: of the activation unit.
        weights: a column of numbers, one for each event: how much it counts. It holds lists where the columns of ids do, and
            texts, `0.3|0.7`, where there is a `separator`.
        prefix: what stands before a field's name in the name of its column; `"{name}_"` by default.
        separator: what stands between the ids where a column holds them in one text; None where it holds lists. A file is
            refused whose text has no integer between two separators, where ids are integers, no number for a weight, or more
            or fewer weights than ids. A served model takes them for an unknown id, a missing weight, and missing or no weights.
            Brackets around a text of numbers or of integer ids, `[3, 7]`, are left out.
        weight_separator: what stands between an id and its weight where one text holds both; the last one counts where ids
            hold it too. Models read these weights as the encoded column `{name}_weights`.
        side: as in `Categorical`.

    Raises:
        ValueError: no field, a field given twice, a column called `{name}_mask` or otherwise no name, `length < 1`, an
            unknown pooling, a `target` where there is no attention or the other way round, or a `weight_separator` without a
            `separator`, beside `weights`, or of several fields.
    """

    name: str
    fields: tuple[Categorical, ...]
    _: KW_ONLY
    length: int
    pooling: Pooling = "mean"
    target: tuple[str, ...] = ()
    attention_units: tuple[int, ...] = (36,)
    attention_activation: AttentionActivation = "prelu"
    attention_softmax: bool = False
    weights: str | None = None
    prefix: str | None = None
    separator: str | None = None
    weight_separator: str | None = None
    side: Side = "context"

    def __post_init__(self) -> None:
        check_name("feature", self.name)
        check_option("side", self.side, Side)
        object.__setattr__(self, "fields", several("fields", self.fields, of=repr(self.name)))
        set_counts(self, "length")
        if not self.fields or not all(isinstance(field, Categorical) for field in self.fields):
            raise ValueError(f"Sequence {self.name!r} needs one `Categorical` or more. Received: fields={self.fields}")
        check_distinct(f"field of sequence {self.name!r}", (field.name for field in self.fields))
        for column in self.columns:
            check_name(f"column of sequence {self.name!r}", column)
        if self.mask in self.columns:
            raise ValueError(f"No column of sequence {self.name!r} may be called {self.mask!r}: that is its mask.")
        check_separator(self.name, "separator", self.separator)
        check_separator(self.name, "weight_separator", self.weight_separator)
        self._check_weights()
        check_option("pooling", self.pooling, Pooling, of=repr(self.name))
        object.__setattr__(self, "target", (self.target,) if isinstance(self.target, str) else tuple(self.target))
        object.__setattr__(self, "attention_units", check_units("attention_units", self.attention_units, least=1))
        check_option("attention_activation", self.attention_activation, AttentionActivation, of=repr(self.name))
        if bool(self.target) != (self.pooling == "attention"):
            raise ValueError(
                f"`target` of {self.name!r} goes with pooling='attention'. Received: target={self.target}, pooling={self.pooling!r}"
            )

    def _check_weights(self) -> None:
        """Raises ValueError unless weights stand in one place, and a separator of theirs tells them from ids."""
        between, inside = self.separator, self.weight_separator
        if inside is None:
            return
        if self.weights is not None or len(self.fields) > 1:
            raise ValueError(
                f"`weight_separator` of {self.name!r} goes with one field, and without a column of weights. "
                f"Received: weight_separator={inside!r}, weights={self.weights!r}, {len(self.fields)} fields"
            )
        if between is None or between in inside or inside in between:
            raise ValueError(
                f"`weight_separator` of {self.name!r} goes with a `separator`, and neither may hold the other. "
                f"Received: separator={between!r}, weight_separator={inside!r}"
            )
        if self.encoded_weights in self.columns:
            raise ValueError(
                f"No column of sequence {self.name!r} may be called {self.encoded_weights!r}: those are its weights."
            )

    @property
    def mask(self) -> str:
        """Name of the encoded mask, `(B, L)` int32, 1 for events and 0 for padding; Keras's own layers take `mask > 0`."""
        return f"{self.name}_mask"

    @property
    def encoded_weights(self) -> str | None:
        """Name of the encoded weights, `(B, L)` float32, 0 for padding; None where all events count alike."""
        return self.weights if self.weight_separator is None else f"{self.name}_weights"

    @property
    def columns(self) -> tuple[str, ...]:
        """The raw columns that the feature reads: one a field, and the one of the weights if they have one."""
        return (*self.id_columns, *([] if self.weights is None else [self.weights]))

    @property
    def id_columns(self) -> tuple[str, ...]:
        """The columns of ids, one a field."""
        return tuple(self.column(field) for field in self.fields)

    @property
    def sources(self) -> tuple[str, ...]:
        """What files call them: as the fields say, or the same."""
        ids = [field.column or self.column(field) for field in self.fields]
        return (*ids, *self.columns[len(ids) :])

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
        """The feature as the model sees it, once ids are row numbers and weights a column."""
        fields = tuple(field.encoded() for field in self.fields)
        return replace(self, fields=fields, weights=self.encoded_weights, separator=None, weight_separator=None)
