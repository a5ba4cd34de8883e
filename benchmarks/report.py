"""Sittings as Markdown."""

import statistics
from typing import Any

from contest import Timing
from sittings import NEEDED_MEMORY, Claim, Sitting


def median_ms(rounds: list[list[float]]) -> float:
    return 1e3 * statistics.median(second for seconds in rounds for second in seconds)


def record(sitting: Sitting, timings: dict[str, Timing], stamp: dict[str, str]) -> dict[str, Any]:
    """What is kept of a sitting: medians and ratios, as plain data."""
    return {
        "title": sitting.title,
        "stamp": stamp,
        "rows": [_row(label, timings.get(label)) for label in sitting.entries],
        "claims": [_judge(claim, timings) for claim in sitting.claims],
    }


def _row(label: str, timing: Timing | None) -> dict[str, Any]:
    if timing is None:
        return {"label": label, "median_ms": None}
    low, *_, high = statistics.quantiles(
        [1e3 * s for seconds in timing.rounds for s in seconds], n=10, method="inclusive"
    )
    return {
        "label": label,
        "median_ms": median_ms(timing.rounds),
        "p10_p90_ms": [low, high],
        "weights": timing.facts["weights"],
        "peak_gib": timing.peak_bytes / 2**30,
        "versions": timing.facts["versions"],
    }


def _judge(claim: Claim, timings: dict[str, Timing]) -> dict[str, Any]:
    judged = {"text": claim.text, "target": _target(claim), "ratio": None}
    if claim.against == NEEDED_MEMORY:
        timing = timings[claim.label]
        judged["ratio"] = (timing.peak_bytes - timing.facts["imported_bytes"]) / timing.facts["needed_bytes"]
        judged["rounds"] = [judged["ratio"]] * 2
        judged["holds"] = judged["ratio"] <= claim.at_most
    elif claim.label in timings and claim.against in timings:
        upper, lower = timings[claim.label].rounds, timings[claim.against].rounds
        by_round = [claim.factor * median_ms([u]) / median_ms([v]) for u, v in zip(upper, lower, strict=True)]
        judged["ratio"] = claim.factor * median_ms(upper) / median_ms(lower)
        judged["rounds"] = [min(by_round), max(by_round)]
        judged["holds"] = (
            judged["ratio"] <= claim.at_most if claim.at_most else judged["ratio"] >= (claim.at_least or 0)
        )
    return judged


def _target(claim: Claim) -> str:
    return f"<= {claim.at_most:g}" if claim.at_most else f">= {claim.at_least:g}"


def page(records: list[dict[str, Any]]) -> str:
    """The whole results page."""
    lines = [
        "# Results",
        "",
        "Written by `make bench`; how to read it is in [README.md](../README.md). A ratio is one of medians within a sitting;",
        "its range is that of the single rounds. Times of different sittings cannot be compared.",
    ]
    for kept in records:
        lines += [
            "",
            f"## {kept['title']}",
            "",
            _stamp(kept["stamp"]),
            "",
            *_claims(kept["claims"]),
            "",
            *_rows(kept["rows"]),
        ]
    return "\n".join(lines) + "\n"


def _stamp(stamp: dict[str, str]) -> str:
    return "; ".join(f"{name} {value}" for name, value in stamp.items())


def _claims(claims: list[dict[str, Any]]) -> list[str]:
    lines = ["| ratio | target | measured | rounds | |", "|---|---|---|---|---|"]
    for claim in claims:
        if claim["ratio"] is None:
            lines.append(f"| {claim['text']} | {claim['target']} | - | - | skipped: not installed |")
        else:
            low, high = claim["rounds"]
            verdict = "holds" if claim["holds"] else "**missed**"
            lines.append(
                f"| {claim['text']} | {claim['target']} | {claim['ratio']:.2f} | {low:.2f}-{high:.2f} | {verdict} |"
            )
    return lines


def _rows(rows: list[dict[str, Any]]) -> list[str]:
    lines = ["| | median ms | 10-90 % | weights | peak memory | versions |", "|---|---|---|---|---|---|"]
    for row in rows:
        if row["median_ms"] is None:
            lines.append(f"| {row['label']} | skipped: not installed | | | | |")
            continue
        low, high = row["p10_p90_ms"]
        versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
        lines.append(
            f"| {row['label']} | {row['median_ms']:.3g} | {low:.3g}-{high:.3g} | {row['weights']:,} | "
            f"{row['peak_gib']:.1f} GiB | {versions} |"
        )
    return lines
