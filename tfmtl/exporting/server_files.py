"""Text protos for `tensorflow_model_server`, written beside the versions."""

from pathlib import Path
from typing import Any

from google.protobuf import text_format

from tfmtl.atomic_file import replacing
from tfmtl.serving.protocol.batching_options import batching_options
from tfmtl.serving.protocol.config_protos import BatchingParameters, ModelServerConfig

BATCH_SIZES = (1, 8, 64, 512)
"""Batches that a server pads to, and warms up with."""

_BATCHING_FILE = "batching.config"
_MODELS_FILE = "models.config"

MODELS = """\
# tensorflow_model_server --model_config_file=/models/{name}/models.config
# `base_path` is where the server sees this folder, for example with: docker run -v "$PWD/{name}:/models/{name}"
model_config_list {{
  config {{
    name: "{quoted}"
    base_path: "/models/{quoted}"
    model_platform: "tensorflow"
    model_version_policy {{ latest {{ num_versions: 1 }} }}
  }}
}}
"""

BATCHING = """\
# tensorflow_model_server --enable_batching --batching_parameters_file=/models/{name}/batching.config
# Measure before use: on a CPU a small ranker is often faster without. A server that batches cannot answer `rank`,
# whose inputs differ in length by design: a request for it is a batch already.
# Requests with histories merge only where these are equally wide: clients pad them with -1 or "" to one width, or send
# `examples`. Never set pad_variable_length_inputs: it pads with an id of the row's own, and scores change.
# Exports warm up with the sizes below, and a version whose warm-up is refused does not load: after an edit of them,
# export again.
max_batch_size {{ value: {largest} }}
batch_timeout_micros {{ value: 2000 }}
max_enqueued_batches {{ value: 100 }}
{allowed}
"""

MONITORING = """\
# tensorflow_model_server --rest_api_port=8501 --monitoring_config_file=/models/{name}/monitoring.config
# Served on the REST port.
prometheus_config {{
  enable: true
  path: "/monitoring/prometheus/metrics"
}}
"""


def write_server_files(base: Path) -> None:
    """Writes `models.config`, `batching.config` and `monitoring.config` into `base`; files that are there are kept.

    A server that polls `base` for versions looks at folders named by a number only.
    """
    texts = {_MODELS_FILE: MODELS, _BATCHING_FILE: BATCHING, "monitoring.config": MONITORING}
    allowed = "\n".join(f"allowed_batch_sizes: {size}" for size in BATCH_SIZES)
    for file, text in texts.items():
        target = base / file
        if not target.exists():
            quoted = base.name.replace("\\", r"\\").replace('"', r"\"")
            filled = text.format(name=base.name, quoted=quoted, largest=BATCH_SIZES[-1], allowed=allowed)
            with replacing(target) as partial:
                partial.write_text(filled, encoding="utf-8")


def batch_sizes(base: Path) -> tuple[int, ...]:
    """The batches to warm up with: those that `batching.config` in `base` pads to, or of `BATCH_SIZES` those it allows.

    Raises:
        ValueError: the file is no BatchingParameters, or one that a server refuses.
    """
    file = base / _BATCHING_FILE
    if not file.exists():
        return BATCH_SIZES
    parameters = _parse(file, BatchingParameters)
    try:
        options = batching_options(parameters)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    return options.allowed_sizes or tuple(size for size in BATCH_SIZES if size <= options.max_batch_size)


def named_versions(base: Path) -> set[int]:
    """The versions that `models.config` in `base` names: those of a `specific` policy, and those with a label.

    Raises:
        ValueError: the file is no ModelServerConfig.
    """
    file = base / _MODELS_FILE
    if not file.exists():
        return set()
    models = _parse(file, ModelServerConfig).model_config_list.config
    specific = {version for model in models for version in model.model_version_policy.specific.versions}
    return specific | {label.value for model in models for label in model.version_labels}


def _parse(file: Path, kind: Any) -> Any:
    try:
        return text_format.Parse(
            file.read_text(encoding="utf-8"), kind(), allow_unknown_field=kind is ModelServerConfig
        )
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} must be a {kind.DESCRIPTOR.name}. Received: {error}") from error
