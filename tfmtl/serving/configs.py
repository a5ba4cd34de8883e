"""Text protos for `tensorflow_model_server`, written beside the versions."""

import os
from pathlib import Path

from google.protobuf import text_format

from tfmtl.serving.config_protos import BatchingParameters

BATCH_SIZES = (1, 8, 64, 512)
"""Batches that a server pads to, and warms up with."""

_BATCHING_FILE = "batching.config"

MODELS = """\
# tensorflow_model_server --model_config_file=/models/{name}/models.config
# `base_path` is where the server sees this folder, for example with: docker run -v "$PWD/{name}:/models/{name}"
model_config_list {{
  config {{
    name: "{name}"
    base_path: "/models/{name}"
    model_platform: "tensorflow"
    model_version_policy {{ latest {{ num_versions: 1 }} }}
  }}
}}
"""

BATCHING = """\
# tensorflow_model_server --enable_batching --batching_parameters_file=/models/{name}/batching.config
# Measure before use: on a CPU a small ranker is often faster without. A server that batches cannot answer `rank`,
# whose inputs differ in length by design: a request for it is a batch already.
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


def write_configs(base: Path) -> None:
    """Writes `models.config`, `batching.config` and `monitoring.config` into `base`; files that are there are kept.

    A server that polls `base` for versions looks at folders named by a number only.
    """
    texts = {"models.config": MODELS, _BATCHING_FILE: BATCHING, "monitoring.config": MONITORING}
    allowed = "\n".join(f"allowed_batch_sizes: {size}" for size in BATCH_SIZES)
    for file, text in texts.items():
        target = base / file
        if not target.exists():
            filled = text.format(name=base.name, largest=BATCH_SIZES[-1], allowed=allowed)
            partial = base.parent / f".{base.name}.{file}.{os.getpid()}"
            partial.write_text(filled, encoding="utf-8")
            os.replace(partial, target)


def batch_sizes(base: Path) -> tuple[int, ...]:
    """The batches to warm up with: those that `batching.config` in `base` pads to, or of `BATCH_SIZES` those it allows.

    Raises:
        ValueError: the file is no BatchingParameters.
    """
    file = base / _BATCHING_FILE
    if not file.exists():
        return BATCH_SIZES
    try:
        parameters = text_format.Parse(file.read_text(encoding="utf-8"), BatchingParameters())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} must be a BatchingParameters. Received: {error}") from error
    largest = parameters.max_batch_size.value or BATCH_SIZES[-1]
    return tuple(parameters.allowed_batch_sizes) or tuple(size for size in BATCH_SIZES if size <= largest)
