"""Counters and histograms under TensorFlow Serving's names, as Prometheus reads them.

Written by hand because the usual client library cannot print these names: it appends `_total` to every counter, so
`:tensorflow:serving:request_count` would come out under a name that no dashboard of the real server asks for.
"""

import bisect
import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tfmtl.serving.server.serving_error import Code, as_serving_error

DEFAULT_PATH = "/monitoring/prometheus/metrics"


@dataclass(frozen=True)
class MetricFamily:
    """A metric: its name, its labels, and a histogram's upper limits; a counter has none."""

    name: str
    labels: tuple[str, ...] = ()
    limits: tuple[float, ...] = ()


def _exponential(scale: float, growth: float, count: int) -> tuple[float, ...]:
    return tuple(scale * growth**power for power in range(count))


_LATENCY = _exponential(10, 1.8, 33)
_SIZES = _exponential(1, 2, 14)
_BATCHING = ":tensorflow:serving:batching_session:"

REQUEST_COUNT = MetricFamily(":tensorflow:serving:request_count", ("model_name", "status"))
REQUEST_LATENCY = MetricFamily(":tensorflow:serving:request_latency", ("model_name", "API", "entrypoint"), _LATENCY)
RUNTIME_LATENCY = MetricFamily(":tensorflow:serving:runtime_latency", ("model_name", "API", "runtime"), _LATENCY)
WARMUP_LATENCY = MetricFamily(":tensorflow:serving:model_warmup_latency", ("model_path", "status"), _LATENCY)
INPUT_BATCH_SIZE = MetricFamily(_BATCHING + "input_batch_size", (), _SIZES)
PADDING_SIZE = MetricFamily(_BATCHING + "padding_size", ("execution_batch_size",), _SIZES)
PROCESSED_BATCH_SIZE = MetricFamily(_BATCHING + "processed_batch_size", (), _SIZES)
QUEUING_LATENCY = MetricFamily(_BATCHING + "queuing_latency", ("thread_pool_name",), _exponential(100, 1.2, 52))
WRAPPED_RUN_COUNT = MetricFamily(_BATCHING + "wrapped_run_count")


@dataclass
class _Histogram:
    counts: list[int]
    total: float = 0.0


@dataclass
class _Series:
    counters: dict[tuple[str, ...], int] = field(default_factory=dict)
    histograms: dict[tuple[str, ...], _Histogram] = field(default_factory=dict)


class ServerMetrics:
    """What a server has counted since it started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._series: dict[MetricFamily, _Series] = {}

    def count(self, family: MetricFamily, *labels: str) -> None:
        """Adds one to a counter."""
        with self._lock:
            counters = self._series.setdefault(family, _Series()).counters
            counters[labels] = counters.get(labels, 0) + 1

    def observe(self, family: MetricFamily, value: float, *labels: str) -> None:
        """Puts a value into a histogram."""
        with self._lock:
            histograms = self._series.setdefault(family, _Series()).histograms
            if labels not in histograms:
                histograms[labels] = _Histogram([0] * (len(family.limits) + 1))
            histogram = histograms[labels]
            histogram.counts[bisect.bisect_right(family.limits, value)] += 1
            histogram.total += value

    @contextlib.contextmanager
    def request(self, model: str, api: str, entrypoint: str) -> Iterator[None]:
        """Counts a request under the status it ends with; its latency only if it succeeds."""
        start = time.perf_counter()
        try:
            yield
        except Exception as error:
            self.count(REQUEST_COUNT, model, as_serving_error(error).code.name)
            raise
        self.count(REQUEST_COUNT, model, Code.OK.name)
        self.observe(REQUEST_LATENCY, _microseconds(start), model, api, entrypoint)

    @contextlib.contextmanager
    def warm_up(self, path: str) -> Iterator[None]:
        """Takes the time of a version's warm-up."""
        start = time.perf_counter()
        status = Code.OK.name
        try:
            yield
        except Exception as error:
            status = as_serving_error(error).code.name
            raise
        finally:
            self.observe(WARMUP_LATENCY, _microseconds(start), path, status)

    @contextlib.contextmanager
    def runtime(self, model: str, api: str) -> Iterator[None]:
        """Takes the time of TensorFlow's own work, if it succeeds."""
        start = time.perf_counter()
        yield
        self.observe(RUNTIME_LATENCY, _microseconds(start), model, api, "TF1")

    def page(self) -> str:
        """Everything in Prometheus' text format."""
        lines: list[str] = []
        with self._lock:
            for family, series in sorted(self._series.items(), key=lambda item: item[0].name):
                lines.append(f"# TYPE {family.name} {'histogram' if family.limits else 'counter'}")
                for values, number in sorted(series.counters.items()):
                    lines.append(f"{family.name}{{{_labels(family, values)}}} {number}")
                for values, histogram in sorted(series.histograms.items()):
                    lines.extend(_histogram_lines(family, values, histogram))
        return "\n".join(lines) + "\n"


def _histogram_lines(family: MetricFamily, values: Sequence[str], histogram: _Histogram) -> Iterator[str]:
    labels = _labels(family, values)
    prefix = labels + "," if labels else ""
    seen = 0
    for limit, count in zip((*family.limits, None), histogram.counts, strict=True):
        seen += count
        shown = "+Inf" if limit is None else f"{limit:g}"
        yield f'{family.name}_bucket{{{prefix}le="{shown}"}} {seen}'
    yield f"{family.name}_sum{{{labels}}} {histogram.total:g}"
    yield f"{family.name}_count{{{labels}}} {seen}"


def _labels(family: MetricFamily, values: Sequence[str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(family.labels, values, strict=True))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _microseconds(start: float) -> float:
    return (time.perf_counter() - start) * 1e6
