"""What a chain of steps, such as click, cart, buy, must be."""

from collections.abc import Mapping, Sequence

from tfmtl.schema.label_source import LabelSource
from tfmtl.schema.tasks import Task


def check_chain(chain: Sequence[str]) -> tuple[str, ...]:
    """`chain` as a tuple; raises ValueError unless it names two different tasks or more."""
    steps = tuple(chain)
    if isinstance(chain, str) or len(steps) < 2 or len(set(steps)) != len(steps):
        received = chain if isinstance(chain, str) else list(steps)
        raise ValueError(
            f"`chain` must name two different tasks or more, the first step first. Received: chain={received!r}"
        )
    return steps


def check_steps(chain: Sequence[str], tasks: Mapping[str, Task]) -> None:
    """Raises ValueError unless every step of `chain` is a binary task over all rows that the other steps are over."""
    wrong = [step for step in chain if step not in tasks or tasks[step].kind != "binary"]
    if wrong:
        kinds = {name: task.kind for name, task in tasks.items()}
        raise ValueError(f"Every step of a chain is a binary task. Received: {wrong} in chain={chain}; tasks: {kinds}")
    ranked = [step for step in chain if tasks[step].loss is not None and tasks[step].loss.grouped]
    if ranked:
        raise ValueError(
            "Every step of a chain predicts a probability that is multiplied or compared; a loss that compares rows learns "
            f"none. Received: {ranked} in chain={chain}"
        )
    labels = {step: tasks[step].label or step for step in chain}
    for step in chain:
        spaces = [o for o in chain if o != step and any(_asks_for(c, labels[o]) for c in tasks[step].conditions)]
        if spaces:
            raise ValueError(
                f"Step {step!r} must be defined where {spaces[0]!r} did not happen too: its label is 0 there, not missing. "
                f"Received: sample_space={tasks[step].sample_space!r}"
            )


def _asks_for(condition: LabelSource, label: LabelSource) -> bool:
    """Whether rows that fulfil `condition` are those whose `label` is 1."""
    of_column = isinstance(label, str) and isinstance(condition, tuple) and condition[0] == label
    return condition == label or (of_column and bool(condition[1]))
