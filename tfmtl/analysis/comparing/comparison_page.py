"""A comparison as a page of HTML."""

import html
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tfmtl.analysis.comparing import verdicts
from tfmtl.analysis.comparing.comparison import Comparison
from tfmtl.analysis.comparing.entry import TWINS
from tfmtl.analysis.page import Page

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def comparison_page(comparison: Comparison) -> Page:
    """The whole report: verdicts first, then the figures, the pictures, what it cost, and how it was done."""
    rows = comparison.settings["rows"]
    told = ", ".join(f"{count:,} rows in {name}" for name, count in rows.items())
    page = Page("Does sharing help?", f"{', '.join(comparison.contestants)} against single-task twins. {told}.")
    page.section("Verdict")
    page.points(comparison.verdicts)
    for note in comparison.notes:
        page.text(note)
    pictures = dict(_pictures(comparison))
    page.section("Gains over the single-task twins")
    if not pictures:
        page.text('Pictures need matplotlib: pip install "tfmtl[plots]".')
    for name in ("gains", "seesaw"):
        if name in pictures:
            page.figure(*pictures[name])
    page.section("Figures on the test rows")
    page.table(verdicts.header(comparison), verdicts.cells(comparison), caption=_caption(comparison), text_columns=2)
    page.section("What it costs")
    page.table(["model", "parameters", "step (ms)", "best epoch", "learning rate"], _costs(comparison), caption=COSTS)
    for title, name in (("Calibration", "calibration"), ("Learning", "learning")):
        if name in pictures:
            page.section(title)
            page.figure(*pictures[name])
    page.section("How it was done")
    page.points(_method(comparison))
    return page


COSTS = (
    "Twins: parameters and steps of all of them together; epochs and learning rates from the lowest to the highest of any. "
    "A step is the median over all runs, which took turns; the best epoch is a mean over the seeds."
)


def comparison_fragment(comparison: Comparison) -> str:
    """Table and verdicts for a notebook."""
    cells = verdicts.cells(comparison)
    head = "".join(f"<th>{html.escape(title)}</th>" for title in verdicts.header(comparison))
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in cells)
    said = "".join(f"<p>{html.escape(line)}</p>" for line in [*comparison.verdicts, *comparison.notes])
    return f"<div><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{said}</div>"


def _pictures(comparison: Comparison) -> Iterator[tuple[str, tuple["Figure", str]]]:
    """Each picture with what stands below it, by name; none where matplotlib is not installed."""
    try:
        from tfmtl.analysis import plots

        gains = plots.plot_gains(comparison)
    except ImportError:
        return
    bars = f"Thick bar: {comparison.settings['confidence']:.0%} interval over test {comparison.settings['drawn']}"
    yield (
        "gains",
        (gains, f"{bars}; thin bar: over seeds; tick: one seed. Green excludes 0 from below, red from above."),
    )
    yield "seesaw", (plots.plot_seesaw(comparison), "Who wins and who pays. A triangle: every interval excludes 0.")
    binary = {name: {t: b for t, b in bins.items() if b} for name, bins in comparison.calibration.items()}
    if any(binary.values()):
        said = "Mean label over mean prediction on the test rows, in ten bins of equally many rows, all seeds together."
        yield "calibration", (plots.plot_calibration(binary), said)
    if any(curves for of_model in comparison.curves.values() for curves in of_model.values()):
        yield "learning", (plots.plot_learning(comparison), "On the validation rows, epoch by epoch; one line a seed.")


def _caption(comparison: Comparison) -> str:
    seeds = len(comparison.settings["seeds"])
    return f"Means over {seeds} seed{'s' if seeds > 1 else ''}. Gains are in {verdicts.judged_by(comparison)}."


def _costs(comparison: Comparison) -> list[list[str]]:
    rows = []
    for name in (TWINS, *comparison.contestants):
        cost = comparison.costs[name]
        epochs = sorted(cost.epochs.values())
        told = (
            f"{epochs[0]:.1f} to {epochs[-1]:.1f}"
            if len(set(epochs)) > 1
            else "".join(f"{each:.1f}" for each in epochs[:1])
        )
        rates = ", ".join(f"{rate:g}" for rate in sorted(set(cost.learning_rates.values())))
        rows.append([name, f"{cost.parameters:,}", f"{1000 * cost.step_seconds:.1f}", told, rates])
    return rows


def _method(comparison: Comparison) -> list[str]:
    settings = comparison.settings
    stop = f", ended after {settings['patience']} epochs without a better one" if settings["patience"] else ""
    points = [
        f"Every model was trained with seeds {', '.join(map(str, settings['seeds']))}, for {settings['epochs']} epoch{'s' if settings['epochs'] > 1 else ''} of "
        f"batches of {settings['batch_size']} rows{stop}; models of one seed met the rows in the same order.",
        "The test rows were predicted with the weights of the epoch that was best on the validation rows, by the mean over the "
        f"model's tasks of {verdicts.judged_by(comparison)}. The learning rate was chosen likewise, with the first seed.",
        "A twin has one task, the same columns and the same budget. A gain is a model's figure less that of the twin trained "
        "with the same seed, on the same labelled rows.",
        f"Over seeds: Student's {settings['confidence']:.0%} interval of the mean of the paired gains.",
    ]
    if settings["resamples"]:
        points.append(
            f"Over test {settings['drawn']}: the normal interval around the mean gain, its error from {settings['resamples']} "
            "draws with replacement on which all models are judged."
        )
    return points
