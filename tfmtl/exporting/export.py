"""From a trained model to a version that TensorFlow Serving loads."""

import gc
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tfmtl.chief import own_path
from tfmtl.data.preprocessing import Preprocessor
from tfmtl.exporting.argument_checks import check_arguments, check_layers, check_scope, check_tolerance
from tfmtl.exporting.compared_batches import compared_batches
from tfmtl.exporting.example_rows import RawRows, length, rows_of, tensors
from tfmtl.exporting.graph.traced_function import concrete_function
from tfmtl.exporting.model_card import ModelCard, describe_signatures, plain_metrics
from tfmtl.exporting.parity import answered_batches, check_parity
from tfmtl.exporting.publishing import check_destination, publish_next, remove_old, staging
from tfmtl.exporting.rounding import Rounding
from tfmtl.exporting.saved_model import write_defaults, write_saved_model
from tfmtl.exporting.score import Score
from tfmtl.exporting.served_outputs import check_negatives_kept, served_model
from tfmtl.exporting.server_files import batch_sizes, named_versions, write_server_files
from tfmtl.exporting.signature_set import build_signatures, chosen_signatures
from tfmtl.exporting.traced_model import Encoder, TracedModel, trace_model, with_score
from tfmtl.exporting.warmup_requests import write_warmup
from tfmtl.keras_host import inputs_by_name, keras, layers_of
from tfmtl.progress import Verbose, step_counter
from tfmtl.schema import Schema
from tfmtl.serving.protocol.base_paths import model_path
from tfmtl.typing import Predictions

EXAMPLE_ROWS = 1024


def export(
    model: keras.Model,
    path: str | os.PathLike[str],
    schema: Schema,
    *,
    preprocessor: Encoder | None = None,
    version: int | None = None,
    tasks: Iterable[str] | None = None,
    signatures: Iterable[str] | None = None,
    examples: Any = None,
    score: Score | None = None,
    negatives_kept: Mapping[str, float] | None = None,
    tolerance: float | None = None,
    keep: int | None = None,
    metrics: Mapping[str, Any] | None = None,
    data: str | None = None,
    verbose: Verbose = "auto",
) -> Path:
    """Writes `model` with its preprocessing as the next version under `path`, if it answers as it does in memory.

    Signatures, all of any batch size, with the schema's names for inputs and outputs:

    ```
    serving_default   raw columns                             -> {task: (B, 1)}, and "score"
    serving_ids       encoded columns, as the model reads them -> the same
    examples          "inputs": (B,) serialised tf.Example     -> the same
    classify          "inputs": (B,) serialised tf.Example     -> "classes" (B, T) names of tasks, "scores" (B, T)
    {task}            raw columns                             -> {task: (B, 1)}, at the cost of that task alone
    rank              the user's raw columns (1, ...), all others (N, ...) -> {task: (N, 1)}, and "score"
    ```

    A task with C classes gives `(B, C)`, and to `classify` a class `{task}={class}` each; of a predicted distribution the columns
    that `docs/losses.md` names are served.

    `rank` is there if some features have `side="user"` and some have not. What depends on the user alone (lookups, histories,
    the user's share of the first layer) is computed once. Its inputs differ in length, so REST wants them in column
    format and a server that batches refuses them.

    Before the version appears, the exported graph is loaded back and asked through every signature about `examples`
    and about rows made to be awkward (unknown and huge ids, NaN, empty and overlong histories); every answer must be the
    model's. The version then appears by one rename: a server never sees half of it, whenever the export is killed.

    Beside the graph, in `assets.extra`: warm-up requests, `schema.json`, and a model card as JSON and Markdown. Beside the
    versions, where a server's flags can name them: `models.config`, `batching.config`, `monitoring.config`; edited ones
    are kept. Warm-up requests have the batch sizes of `batching.config`.

    Args:
        model: a functional model from encoded columns to `{task: (B, 1) float32}`, of classes and quantiles as wide as these.
        path: the base path, for example `models/ranker`. Versions are folders `1`, `2`, ... in it; they are prepared
            beside it, in `.ranker.export-...`; what a killed export leaves there the next one removes.
        schema: adapted; the features that the model reads and the tasks that it predicts.
        preprocessor: what encodes raw columns; by default `Preprocessor(schema.features)`. What it only hands on
            (`passthrough`) is not exported.
        version: a number that is not taken; by default one more than the highest, also where several processes export at the
            same time.
        tasks: heads to export, by default all. What only other heads needed (experts, gates, tables) is left out.
        signatures: which of those above to write, by default all. A server prepares each for itself: with fifty tasks, most
            of a version's start is their fifty signatures.
        examples: real rows to compare on and to warm up with: raw columns `{column: values}`, a pandas DataFrame, an Arrow
            table or whatever else has an Arrow stream, or a dataset of batches. The first 1,024 are used.
        score: a fused score to add to the predictions.
        negatives_kept: `{task: share}` of a binary task's negatives that the training rows hold, where they were thinned out at
            random: the graph corrects its probability, `p / (p + (1 - p) / share)`.
        tolerance: how far the graph's answers may be from the model's, in units of `max(1, |prediction|)`. By default 1e-6 for
            `examples`, 1e-4 for awkward rows and 2e-2 in half precision, or as much more as rounding moves the answers of
            this model, which is then measured (`exporting/rounding.py`).
        keep: how many versions to keep, the newest; by default all. Those that `models.config` beside them names, by
            `specific` or by a label, are kept too; one that cannot be removed is worth a warning.
        metrics: for the model card, for example what `evaluate` returned.
        data: for the model card: what the model was trained on, in words.
        verbose: 1 shows a progress bar over the steps of an export, 0 does not; `"auto"` does in a terminal.

    Returns:
        The version's folder.

    Raises:
        ValueError: a `path` that is a URL or has a character of patterns (`*?[]` and the backslash), a schema that is not
            adapted, a model that does not fit it (columns, tasks, and where layers of ours say so the rows of tables and the
            kinds of tasks), `negatives_kept` of other tasks or outside (0, 1], weights that are not finite, unknown tasks or
            signatures, examples that are no rows of it, or a `batching.config` or `models.config` that a server refuses.
        RuntimeError: it is called inside a strategy's scope.
        FileExistsError: the version exists.
        OSError: `path` cannot be written, or is a mount point, beside which nothing can be prepared. TensorFlow raises its
            own errors where a disk is full.
        ParityError: the exported graph answers otherwise than the model, or the model answers NaN. Nothing is published.

    Example:

    >>> from tfmtl.exporting import Score, export
    >>> from tfmtl.models import shared_bottom
    >>> from tfmtl.schema import Categorical, Schema, Task
    >>> schema = Schema([Categorical("item", num_ids=9, dim=4)], [Task("click"), Task("buy")])
    >>> model = shared_bottom(schema, units=(8,), tower_units=(4,))
    >>> version = export(model, "models/ranker", schema, score=Score({"click": 1.0, "buy": 2.0}))
    >>> version.name
    '1'
    """
    check_scope()
    if preprocessor is None:
        preprocessor = Preprocessor(schema.features)
    elif isinstance(preprocessor, Preprocessor) and preprocessor.passthrough:
        preprocessor = Preprocessor(preprocessor.features)  # requests have no columns for metrics

    base = model_path(own_path(model, path))
    check_destination(base, version, keep)
    check_tolerance(tolerance)
    metrics = plain_metrics(metrics)
    sizes = batch_sizes(base)
    named_versions(base)  # an unreadable file must not be found after publishing
    inputs, layers = inputs_by_name(model), layers_of(model)
    served = check_arguments(model, inputs, schema, preprocessor, tasks, score)
    kept = check_negatives_kept(negatives_kept, served)
    check_layers(layers, schema)
    chosen = chosen_signatures(signatures, served.task_names)
    rows = None if examples is None else rows_of(examples, preprocessor.raw_signature, EXAMPLE_ROWS)

    answering = served_model(model, schema, kept)
    advance = step_counter(4, verbose, "step")  # traced, written, compared, published

    def trace() -> TracedModel:
        return trace_model(answering, inputs, preprocessor, served.task_names, score)

    # Traced, built, written and loaded, a graph of sixty tasks takes 0.2 GB each time: none outlives the step that needs it.
    traced = trace()
    batches = compared_batches(rows, schema, traced.function.graph, tolerance)
    built = build_signatures(traced, preprocessor, served, chosen)
    described = describe_signatures(built)
    asked = {name: signature.served for name, signature in built.items()}
    variables = traced.function.variables
    del traced
    gc.collect()
    advance()
    with staging(base) as folder:
        weights = write_saved_model(folder, built, variables, owners=(preprocessor, model))
        del built, variables
        gc.collect()
        write_defaults(folder, asked)
        advance()
        warmup = write_warmup(folder, asked, batches[0].rows, sizes)
        answered = answered_batches(batches, asked, _predicting(answering, inputs, preprocessor, score))
        gc.collect()
        parity = check_parity(folder, asked, answered, None if tolerance is not None else lambda: Rounding(trace()))
        advance()
        write_server_files(base)
        card = ModelCard(
            name=base.name,
            schema=served,
            signatures=described,
            weights=weights,
            parity=parity,
            tolerance=tolerance,
            rows=length(rows or {}),
            warmup=warmup,
            score=score,
            metrics=metrics,
            data=data,
            negatives_kept=kept,
        )
        published = publish_next(folder, base, version, card.write)
    advance()
    if keep is not None:
        remove_old(base, keep, {int(published.name)} | named_versions(base))
    return published


def _predicting(
    model: keras.Model, inputs: Iterable[str], preprocessor: Encoder, score: Score | None
) -> Callable[[RawRows], Predictions]:
    """What the model in memory answers to raw rows, with the score; traced once, for batches of any size."""
    predict = concrete_function(
        lambda **encoded: model({name: encoded[name] for name in inputs}, training=False),
        preprocessor.encoded_signature,
    )

    def answer(rows: RawRows) -> Predictions:
        return with_score(predict(**preprocessor(tensors(rows, preprocessor.raw_signature))), score)

    return answer
