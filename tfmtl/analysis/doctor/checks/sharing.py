"""Tasks that a single-task model serves better."""

from collections.abc import Iterator

from tfmtl.analysis.doctor.examination import Examination
from tfmtl.analysis.doctor.finding import Finding


def better_alone(examined: Examination) -> Iterator[Finding]:
    """Tasks that pay in a comparison: every interval of their gain over the single-task twin lies below 0."""
    if examined.comparison is None:
        return
    gains = examined.comparison.gains
    for task in examined.schema.task_names:
        found = {name: by_task[task] for name, by_task in gains.items() if task in by_task}
        paying = [name for name, gain in found.items() if gain.verdict == "pays"]
        if not paying:
            continue
        level = [name for name in found if name not in paying]
        yield Finding(
            "better_alone",
            "warning",
            task,
            f"The single-task twin of {task!r} is better than {', '.join(paying)}: "
            f"{'; '.join(f'{found[name]}' for name in paying)} of {found[paying[0]].figure}.",
            (f"{', '.join(level)} did not make it worse. " if level else "")
            + "Give the task more of its own (experts, tables), normalise the losses or balance the gradients, and compare again; "
            "else serve it by a model of its own.",
            (task,),
            {f"gain_of_{name}": gain.mean for name, gain in found.items()},
        )
