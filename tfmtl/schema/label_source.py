"""Where a label, or the rows that count, come from: a column, or a question that a column answers."""

from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from tfmtl.schema.values import plain

Comparison: TypeAlias = Literal["==", ">=", ">", "<=", "<"]

LabelSource: TypeAlias = str | tuple[str, str | int | float] | tuple[str, Comparison, int | float]
"""A column; `(column, value)`: whether the column equals the value; or `(column, ">=", number)`."""

_FORMS = "a column, (column, value) or (column, '>=', number)"


class Question(NamedTuple):
    """A label source taken apart.

    Args:
        column: the column.
        comparison: how its values are compared; None takes them as they are.
        value: what with.
    """

    column: str
    comparison: Comparison | None
    value: Any


def question(source: LabelSource) -> Question:
    """What `source` asks of which column."""
    if isinstance(source, str):
        return Question(source, None, None)
    if len(source) == 2:
        return Question(source[0], "==", source[1])
    return Question(*source)


def checked_source(task: str, field: str, value: Any) -> Any:
    """`value` as a `LabelSource` of Python's own values, None as None; ValueError if it is neither."""
    if value is None or isinstance(value, str):
        return value
    if not _is_source(value):
        raise ValueError(f"`{field}` of task {task!r} must be {_FORMS}. Received: {field}={value!r}")
    return (*value[:-1], plain(value[-1]))


def checked_sample_space(task: str, value: Any) -> LabelSource | tuple[LabelSource, ...] | None:
    """One condition as it is, several as a tuple; ValueError if `value` is neither."""
    if value is None or _is_source(value):
        source: LabelSource | None = checked_source(task, "sample_space", value)
        return source
    if isinstance(value, (tuple, list)) and value and all(_is_source(part) for part in value):
        return tuple(checked_source(task, "sample_space", part) for part in value)
    raise ValueError(
        f"`sample_space` of task {task!r} must be {_FORMS}, or several of these. Received: sample_space={value!r}"
    )


def conditions(space: Any) -> tuple[LabelSource, ...]:
    """What must hold for a row to count, of a checked sample space."""
    if space is None:
        return ()
    return (space,) if _is_source(space) else space


def _is_source(value: Any) -> bool:
    """Whether `value` is one column, or one question."""
    if not isinstance(value, (tuple, list)):
        return isinstance(value, str)
    if len(value) not in (2, 3) or not isinstance(value[0], str):
        return False
    if len(value) == 2:
        return isinstance(plain(value[1]), (str, int, float))
    return value[1] in get_args(Comparison) and isinstance(plain(value[2]), (int, float))
