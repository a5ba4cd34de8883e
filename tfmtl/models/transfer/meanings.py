"""Weights with names for themselves and for the entries of their axes, the same in every model that has a counterpart."""

from collections.abc import Hashable, Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

from tfmtl.keras_host import keras, layers_of

Labels: TypeAlias = tuple[Hashable, ...]
"""What the entries of an axis, or of a stream, stand for: a field's number, a task, an expert's unit."""


UNKNOWN: Hashable = None
"""The label of what belongs to ids that are not known."""


class Axis(NamedTuple):
    """One axis of a weight."""

    labels: Labels
    reads: bool = False
    """Whether its entries are inputs: what reads a new input starts at 0, so that old outputs stay as they were."""

    of_ids: bool = False
    """Whether its entries are those of ids: a new id starts from what was there for unknown ones."""


class Meaning(NamedTuple):
    """A weight, and what it stands for."""

    variable: Any
    axes: tuple[Axis, ...] | None
    """None of a layer that this package does not know: it has a counterpart where shape and `given` are the same."""

    given: Any = None
    """What such a layer reads."""


class Meanings:
    """Collects the meanings of weights by name, `trunk.experts[click].kernels[0]`.

    Args:
        others: weights that are none of its business: tables, which go by ids.
    """

    def __init__(self, others: Iterable[Any] = ()) -> None:
        self.by_name: dict[str, Meaning] = {}
        self._seen = {id(variable) for variable in others}

    def add(self, name: str, variable: Any, *axes: Axis) -> None:
        """Notes a weight; the labels of each axis have to be as many as its entries."""
        shape, labelled = tuple(variable.shape), tuple(len(axis.labels) for axis in axes)
        if shape != labelled:
            raise ValueError(
                f"The axes of {name!r} need a label for each entry. Received: {labelled} for shape={shape}"
            )
        self._note(name, Meaning(variable, axes))

    def add_unknown(self, name: str, layer: keras.layers.Layer, given: Any) -> None:
        """Notes the weights of a layer that are not noted yet, by their order within the layer.

        What is inside of a layer comes before it: freezing a part changes the order of a whole layer's weights.
        """
        place = 0
        for part in [*reversed(layers_of(layer)), layer]:
            for variable in part.weights:
                if id(variable) not in self._seen:
                    self._note(f"{name}.weights[{place}]", Meaning(variable, None, given))
                    place += 1

    def _note(self, name: str, meaning: Meaning) -> None:
        self.by_name[name] = meaning
        self._seen.add(id(meaning.variable))

    def __iter__(self) -> Iterator[tuple[str, Meaning]]:
        return iter(self.by_name.items())


def numbered(count: int) -> Labels:
    """Labels of entries that have nothing but their place."""
    return tuple(range(count))


def within(source: Hashable, labels: Iterable[Hashable]) -> Labels:
    """Labels of entries of one among several sources."""
    return tuple((source, label) for label in labels)
