"""A TensorFlow Serving that lives in this process, for notebooks, tests and small internal tools."""

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from tfmtl.serving.protocol.addresses import check_port, joined
from tfmtl.serving.server.config_files import read_metrics_path, read_models_config
from tfmtl.serving.server.grpc_service import start_grpc
from tfmtl.serving.server.handlers import Handlers
from tfmtl.serving.server.model_config import ModelConfig, named_models
from tfmtl.serving.server.model_manager import ModelManager
from tfmtl.serving.server.rest_handlers import RestHandlers
from tfmtl.serving.server.rest_server import RestServer
from tfmtl.serving.server.servable_loader import ServableLoader
from tfmtl.serving.server.server_metrics import ServerMetrics
from tfmtl.serving.server.serving_error import ServingError

_log = logging.getLogger(__name__)

DEFAULT_NAME = "default"
_THREADS = max(64, 4 * (os.cpu_count() or 1))  # a request that waits for its batch holds one
_GRACE = 10.0
"""Seconds that requests under way have when the server stops. What takes longer, be it a request or the load of a version, is
left behind."""


class ServerStartError(RuntimeError):
    """The server did not come up: a model did not load, or a port is taken."""


class LocalServer:
    """Serves SavedModels as `tensorflow_model_server` does: same gRPC and REST calls, same answers, same errors.

    It is meant for notebooks, tests and small internal tools: one Python process, no authentication, no isolation.
    Production runs `tensorflow/serving`, on the same folders; `export/` shows how.

    As with the real server nothing listens before every model has a version loaded and warmed up. New versions under
    a base path are picked up while requests go on; requests without a version go to the newest that is loaded, and
    none fails during a swap.

    Args:
        models: str, Path or mapping. The base path of one model, served as `name`, or `{name: base path}`.
            A base path is the folder whose children are versions, folders named by a number.
        models_config: str or Path. A models.config file instead of `models`: several models, version policies, labels.
        name: str. The name of a model given by its base path alone.
        host: str. A name or an address, of IPv6 too. Anyone who reaches the ports may use the models and replace them:
            keep to 127.0.0.1.
        grpc_port: int. 0 takes a free port.
        rest_port: int or None. 0 takes a free port; None opens none.
        poll_interval: float. Seconds between two looks at the disk; 0 looks at the start only.
        start_timeout: float. Seconds to wait for a model's first version, at the start and when models are reloaded.
        max_load_retries: int. How often a failed load is tried again. The real server tries 5 times, a minute apart;
            here a broken export should be seen at once.
        load_retry_interval: float. Seconds between two tries.
        warm_up: bool. Replay a version's warm-up requests before it is announced.
        models_config_poll_interval: float. Seconds between two readings of `models_config`; 0 reads it once.
        allow_version_labels_for_unavailable_models: bool. Let new labels name versions that are not loaded yet; at the
            start none is, so a `models_config` with labels needs it.
        batching_parameters: str or Path. Merge requests as this BatchingParameters file says; none are without it.
        per_model_batching_parameters: bool. Take everything but the number of threads from
            `<version>/batching_params.pbtxt`; versions without that file are not batched.
        monitoring_config: str or Path. Serve Prometheus metrics as this MonitoringConfig file says.

    Raises:
        ValueError: neither or both of `models` and `models_config` are given, a base path that is a URL or has a character of
            patterns, or a port beyond 0..65535.
        ServerStartError: from `start`: a model that did not become available, with what is on disk, or a taken port.

    Example:

    ```python
    with LocalServer("exports/ranker") as server:
        Client(server.grpc_address).predict({"user_id": ["u1"], "price": [9.5]})
        requests.get(server.rest_url + "/v1/models/default").json()
    ```
    """

    def __init__(
        self,
        models: str | Path | Mapping[str, str | Path] | None = None,
        *,
        models_config: str | Path | None = None,
        name: str = DEFAULT_NAME,
        host: str = "127.0.0.1",
        grpc_port: int = 0,
        rest_port: int | None = 0,
        poll_interval: float = 1.0,
        start_timeout: float = 60.0,
        max_load_retries: int = 0,
        load_retry_interval: float = 60.0,
        warm_up: bool = True,
        models_config_poll_interval: float = 0.0,
        allow_version_labels_for_unavailable_models: bool = False,
        batching_parameters: str | Path | None = None,
        per_model_batching_parameters: bool = False,
        monitoring_config: str | Path | None = None,
    ) -> None:
        if (models is None) == (models_config is None):
            raise ValueError(
                f"Give `models` or `models_config`, one of them. Received: models={models}, models_config={models_config}"
            )
        given = {name: models} if isinstance(models, str | Path) else models
        self._models = None if given is None else named_models(given)
        self._models_config = models_config
        self._host = host.removeprefix("[").removesuffix("]")
        self._grpc_port = check_port("grpc_port", grpc_port)
        self._rest_port = None if rest_port is None else check_port("rest_port", rest_port)
        self._poll_interval, self._start_timeout = poll_interval, start_timeout
        self._models_config_poll_interval = models_config_poll_interval
        self._monitoring_config = monitoring_config
        self._metrics = ServerMetrics()
        self._loader = ServableLoader(
            self._metrics,
            warm_up=warm_up,
            batching_parameters=batching_parameters,
            per_model_batching_parameters=per_model_batching_parameters,
        )
        self._manager = ModelManager(
            self._loader.load,
            max_load_retries=max_load_retries,
            load_retry_interval=load_retry_interval,
            allow_early_labels=allow_version_labels_for_unavailable_models,
        )
        self._handlers = Handlers(self._manager, reload_timeout=start_timeout)
        self._stopping = threading.Event()
        self._closers = contextlib.ExitStack()

    def start(self) -> "LocalServer":
        """Loads every model, then opens the ports. A server starts once."""
        with contextlib.ExitStack() as closers:
            try:
                self._loader.start()
                closers.callback(self._loader.close)
                closers.callback(self._manager.close, _GRACE)
                self._manager.configure(self._configs(), timeout=self._start_timeout)
                self._open(closers)
            except (ServingError, OSError) as error:
                raise ServerStartError(f"The server did not start: {error}") from error
            self._closers = closers.pop_all()
        return self

    def stop(self) -> None:
        """Closes the ports, lets requests under way finish for ten seconds, and unloads the models."""
        self.cancel()
        self._closers.close()

    def cancel(self) -> None:
        """Ends every wait, so that a `start` under way in another thread raises; may be called by a signal's handler."""
        self._stopping.set()
        self._loader.cancel()
        self._manager.cancel()

    def __enter__(self) -> "LocalServer":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def grace(self) -> float:
        """Seconds that `stop` lets requests under way finish."""
        return _GRACE

    @property
    def grpc_address(self) -> str:
        """`host:port` of the gRPC door."""
        return joined(self._host, self._grpc_port)

    @property
    def rest_url(self) -> str:
        """`http://host:port` of the REST door."""
        return f"http://{joined(self._host, self._rest_port)}"

    def poll(self) -> None:
        """Looks at the disk now, instead of at the next turn of the clock; returns when new versions are available."""
        self._manager.poll()

    def _configs(self) -> list[ModelConfig]:
        if self._models is not None:
            return self._models
        return read_models_config(str(self._models_config))

    def _open(self, closers: contextlib.ExitStack) -> None:
        self._repeat(self._manager.poll, self._poll_interval, closers)
        if self._models_config is not None:
            self._repeat(self._reread, self._models_config_poll_interval, closers)
        # Last to open, first to close: both ports at once, before the wait for requests under way.
        grpc_server, self._grpc_port = start_grpc(
            self._handlers, self._metrics, host=self._host, port=self._grpc_port, threads=_THREADS
        )
        # With a bound of its own: should a second signal interrupt grpc's bookkeeping, its event may never come.
        closers.callback(lambda: grpc_server.stop(_GRACE).wait(_GRACE + 1))
        if self._rest_port is not None:
            rest = self._rest()
            self._rest_port = rest.start()
            closers.callback(rest.stop)
            closers.callback(grpc_server.stop, _GRACE)  # returns at once

    def _rest(self) -> RestServer:
        return RestServer(
            RestHandlers(self._handlers, self._metrics),
            host=self._host,
            port=self._rest_port or 0,
            threads=_THREADS,
            pages=self._pages(),
            grace=_GRACE,
        )

    def _pages(self) -> dict[str, Callable[[], str]]:
        path = None if self._monitoring_config is None else read_metrics_path(self._monitoring_config)
        return {} if path is None else {path: self._metrics.page}

    def _repeat(self, action: Callable[[], None], interval: float, closers: contextlib.ExitStack) -> None:
        """Does `action` every `interval` seconds until the server stops; never if that is 0."""
        if interval <= 0:
            return

        def keep_on() -> None:
            while not self._stopping.wait(interval):
                try:
                    action()
                except Exception:
                    _log.exception("%s failed; it is tried again in %s s", action.__name__, interval)

        thread = threading.Thread(target=keep_on, name=f"tfmtl-{action.__name__}", daemon=True)
        thread.start()
        closers.callback(thread.join, _GRACE)
        closers.callback(self._stopping.set)

    def _reread(self) -> None:
        try:
            self._manager.configure(self._configs(), timeout=self._start_timeout)
        except ServingError as error:
            _log.error("the models config is not followed: %s", error)
