"""The model card: what a version answers, what it was made from, and how it was checked."""

import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfmtl.exporting.built_signature import BuiltSignature
from tfmtl.exporting.score import Score
from tfmtl.keras_host import keras
from tfmtl.schema import Categorical, Feature, Schema, Task
from tfmtl.schema.tasks import task_to_dict
from tfmtl.version import VERSION

SCHEMA_FILE = Path("assets.extra", "schema.json")
CARD_FILE = Path("assets.extra", "model_card.md")
CARD_JSON = Path("assets.extra", "model_card.json")


@dataclass(frozen=True)
class ModelCard:
    """What is known about a version before it is published.

    Args:
        name: of the model.
        schema: with the served tasks.
        signatures: as `describe_signatures` made them.
        weights: numbers that the version holds.
        parity: for each signature the largest difference to the model in memory.
        tolerance: the largest difference that the caller allows; None: what rounding explains.
        rows: how many example rows were compared.
        warmup: how many warm-up requests there are.
        score: the score in the graph.
        metrics: as `plain_metrics` made them.
        data: as the caller gave it.
        negatives_kept: by task, the share of its negatives that training kept; its probability is corrected for that.
    """

    name: str
    schema: Schema
    signatures: Mapping[str, Any]
    weights: int
    parity: Mapping[str, float]
    tolerance: float | None
    rows: int
    warmup: int
    score: Score | None
    metrics: Mapping[str, Any] | None
    data: str | None
    negatives_kept: Mapping[str, float]

    def write(self, folder: Path, version: int) -> None:
        """Writes the schema and the card, as JSON and as Markdown, under `folder/assets.extra`."""
        (folder / SCHEMA_FILE).parent.mkdir(exist_ok=True)
        card = self.to_dict(version)
        (folder / SCHEMA_FILE).write_text(self.schema.to_json(), encoding="utf-8")
        text = json.dumps(card, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / CARD_JSON).write_text(text, encoding="utf-8")
        (folder / CARD_FILE).write_text(as_markdown(card), encoding="utf-8")

    def to_dict(self, version: int) -> dict[str, Any]:
        """The card as JSON types."""
        return {
            "name": self.name,
            "version": version,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "tasks": [task_to_dict(task) | {"serves": _served(task)} for task in self.schema.tasks],
            "score": self.score.to_dict() if self.score else None,
            "negatives_kept": dict(self.negatives_kept),
            "features": [_feature(feature) for feature in self.schema.features],
            "signatures": dict(self.signatures),
            "weights": self.weights,
            "metrics": self.metrics,
            "data": None if self.data is None else str(self.data),
            "parity": {
                "example_rows": self.rows,
                "largest_difference": dict(self.parity),
                "tolerance": self.tolerance,
            },
            "warmup_requests": self.warmup,
            "libraries": {
                "tfmtl": VERSION,
                "tensorflow": tf.__version__,
                "keras": keras.__version__,
                "python": platform.python_version(),
            },
        }


def as_markdown(card: Mapping[str, Any]) -> str:
    """The card for people."""
    lines = [
        f"# {card['name']}, version {card['version']}",
        "",
        f"Exported {card['created']}. {card['weights']:,} weights.",
    ]
    if card["data"]:
        lines += ["", f"Data: {card['data']}"]
    tasks = [
        (t["name"], t.get("kind", "binary"), t.get("label", t["name"]), t.get("sample_space", "all rows"), t["serves"])
        for t in card["tasks"]
    ]
    lines += _table("Tasks", ("task", "kind", "label", "sample space", "serves"), tasks)
    if card["score"]:
        weights = ", ".join(f"{task} {weight:g}" for task, weight in card["score"]["weights"].items())
        lines += ["", f"Score: {card['score']['form']} of {weights}."]
    if card["negatives_kept"]:
        kept = ", ".join(f"{share:g} of {task}" for task, share in card["negatives_kept"].items())
        lines += ["", f"Probabilities are corrected for negatives that training left out; kept were {kept}."]
    if card["metrics"]:
        lines += _table("Metrics", ("metric", "value"), sorted(_flat(card["metrics"])))
    features = [(f["name"], f["kind"], f["side"], ", ".join(f["columns"]), f.get("rows", "")) for f in card["features"]]
    lines += _table("Features", ("feature", "kind", "side", "raw columns", "rows"), features)
    difference = card["parity"]["largest_difference"]
    signatures = [
        (name, _few(s["inputs"], "columns"), _few(s["outputs"], "outputs"), s["operations"], f"{difference[name]:.1e}")
        for name, s in card["signatures"].items()
    ]
    lines += _table("Signatures", ("signature", "inputs", "outputs", "operations", "largest difference"), signatures)
    lines += [
        "",
        f"Before it was published, every signature was asked about {card['parity']['example_rows']} example rows and about "
        "rows made to be awkward; the largest difference is to the model in memory. Allowed was "
        + ("what rounding explains." if card["parity"]["tolerance"] is None else f"{card['parity']['tolerance']:g}."),
    ]
    lines += _table("Made with", ("library", "version"), card["libraries"].items())
    return "\n".join(lines) + "\n"


def _served(task: Task) -> str:
    """What a caller gets of a task, in words."""
    output = task.output
    if task.kind == "multiclass":
        known = ", ".join(map(str, task.classes)) if task.classes else f"0 to {output.width - 1}"
        return f"the probabilities of the classes {known}"
    if output.form == "quantiles":
        return "the quantiles " + ", ".join(f"{level:g}" for level in task.loss.levels)
    words = {
        "probability": "a probability",
        "value": "a value",
        "positive": "a value above 0",
        "zero_inflated": "the mean",
    }
    return words[output.form]


def _table(title: str, header: tuple[str, ...], rows: Any) -> list[str]:
    line = ["| " + " | ".join(str(cell) for cell in row) + " |" for row in (header, ("---",) * len(header), *rows)]
    return ["", f"## {title}", "", *line]


def _few(names: Iterable[str], kind: str) -> str:
    names = list(names)
    return ", ".join(names) if len(names) <= 6 else f"{len(names)} {kind}"


def _flat(metrics: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested metrics as `("click / auc", "0.79")`."""
    rows: list[tuple[str, str]] = []
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{name} / ")
        else:
            rows.append((f"{prefix}{name}", f"{value:.5g}" if hasattr(value, "__float__") else str(value)))
    return rows


def _feature(feature: Feature) -> dict[str, Any]:
    """One feature without its vocabulary, which `schema.json` holds."""
    described: dict[str, Any] = {
        "name": feature.name,
        "kind": type(feature).__name__,
        "side": feature.side,
        "columns": list(feature.columns),
    }
    encoded = feature.encoded()
    if isinstance(encoded, Categorical):
        described["rows"] = encoded.rows
    return described


def describe_signatures(signatures: Mapping[str, BuiltSignature]) -> dict[str, Any]:
    """What a card says of signatures, as JSON types, by name."""
    sizes: dict[str, int] = {}
    return {name: _signature(signature.concrete, sizes) for name, signature in signatures.items()}


def _signature(concrete: Any, sizes: dict[str, int]) -> dict[str, Any]:
    return {
        # By their keys: TensorFlow lowers the letters of what it calls the specs.
        "inputs": {name: _spec(spec) for name, spec in concrete.structured_input_signature[1].items()},
        "outputs": {name: _spec(tensor) for name, tensor in concrete.structured_outputs.items()},
        "operations": _operations(concrete.graph, sizes),
    }


def _operations(graph: tf.Graph, sizes: dict[str, int]) -> int:
    """How many operations a graph runs, in the functions that it calls too; `sizes` remembers those of functions."""
    operations = graph.get_operations()
    called = [op.get_attr("f").name for op in operations if "PartitionedCall" in op.type]
    if not sizes.keys() >= set(called):
        sizes |= {f.signature.name: len(f.node_def) for f in graph.as_graph_def().library.function}
    return len(operations) - len(called) + sum(sizes[name] for name in called)


def _spec(tensor: Any) -> dict[str, Any]:
    return {"dtype": tensor.dtype.name, "shape": list(tensor.shape)}


def plain_metrics(metrics: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Metrics as JSON types; one that is undefined (NaN) is null.

    Raises:
        ValueError: no mapping.
    """
    if metrics is None:
        return None
    if not isinstance(metrics, Mapping):
        raise ValueError(f"`metrics` must be a dict, such as `tfmtl.evaluate` returns. Received: metrics={metrics!r}")
    return {str(name): _plain(value) for name, value in metrics.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return plain_metrics(value)
    if getattr(value, "ndim", 0) or isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if hasattr(value, "__float__"):
        return float(value) if isfinite(value) else None
    return value if value is None else str(value)
