"""A TensorFlow Serving that lives in this process, for notebooks, tests and small internal tools."""

import contextlib
import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from .configs import ModelConfig, named_models, read_models_config
from .errors import ServingError
from .graph_session import GraphSession
from .grpc_service import start_grpc
from .handlers import Handlers
from .manager import ModelManager
from .rest import RestHandlers, RestServer
from .servable import Servable
from .warmup import warm_up

_log = logging.getLogger(__name__)

DEFAULT_NAME = "default"
_THREADS = max(16, 4 * (os.cpu_count() or 1))


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
        host: str. Anyone who reaches the ports may use the models and replace them: keep to 127.0.0.1.
        grpc_port: int. 0 takes a free port.
        rest_port: int or None. 0 takes a free port; None opens none.
        poll_interval: float. Seconds between two looks at the disk; 0 looks at the start only.
        start_timeout: float. Seconds to wait for a model's first version, at the start and when models are reloaded.
        max_load_retries: int. How often a failed load is tried again. The real server tries 5 times, a minute apart;
            here a broken export should be seen at once.
        load_retry_interval: float. Seconds between two tries.
        warm_up: bool. Replay a version's warm-up requests before it is announced.

    Raises:
        ValueError: neither or both of `models` and `models_config` are given.
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
    ) -> None:
        if (models is None) == (models_config is None):
            raise ValueError(
                f"Give `models` or `models_config`, one of them. Received: models={models}, models_config={models_config}"
            )
        self._models = {name: models} if isinstance(models, str | Path) else models
        self._models_config = models_config
        self._host, self._grpc_port, self._rest_port = host, grpc_port, rest_port
        self._poll_interval, self._start_timeout = poll_interval, start_timeout
        self._warm_up = warm_up
        self._manager = ModelManager(
            self._load, max_load_retries=max_load_retries, load_retry_interval=load_retry_interval
        )
        self._handlers = Handlers(self._manager, reload_timeout=start_timeout)
        self._stopping = threading.Event()
        self._closers = contextlib.ExitStack()

    def start(self) -> "LocalServer":
        """Loads every model, then opens the ports."""
        with contextlib.ExitStack() as closers:
            try:
                closers.callback(self._manager.close)
                self._manager.configure(self._configs(), timeout=self._start_timeout)
                self._open(closers)
            except (ServingError, OSError) as error:
                raise ServerStartError(f"The server did not start: {error}") from error
            self._closers = closers.pop_all()
        return self

    def stop(self) -> None:
        """Closes the ports, lets requests under way finish, and unloads the models."""
        self._stopping.set()
        self._closers.close()

    def __enter__(self) -> "LocalServer":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def grpc_address(self) -> str:
        """`host:port` of the gRPC door."""
        return f"{self._host}:{self._grpc_port}"

    @property
    def rest_url(self) -> str:
        """`http://host:port` of the REST door."""
        return f"http://{self._host}:{self._rest_port}"

    def poll(self) -> None:
        """Looks at the disk now, instead of at the next turn of the clock; returns when new versions are available."""
        self._manager.poll()

    def _configs(self) -> list[ModelConfig]:
        if self._models is not None:
            return named_models(self._models)
        return read_models_config(str(self._models_config))

    def _open(self, closers: contextlib.ExitStack) -> None:
        server, self._grpc_port = start_grpc(self._handlers, host=self._host, port=self._grpc_port, threads=_THREADS)
        closers.callback(lambda: server.stop(_GRACE).wait())
        if self._rest_port is not None:
            rest = RestServer(RestHandlers(self._handlers), host=self._host, port=self._rest_port, threads=_THREADS)
            self._rest_port = rest.start()
            closers.callback(rest.stop, _GRACE)
        if self._poll_interval > 0:
            poller = threading.Thread(target=self._keep_polling, name="tfmtl-poll", daemon=True)
            poller.start()
            closers.callback(poller.join)

    def _keep_polling(self) -> None:
        while not self._stopping.wait(self._poll_interval):
            self._manager.poll()

    def _load(self, name: str, version: int, path: Path) -> Servable:
        session = GraphSession(path)
        servable = Servable(name, version, session.signatures, session)
        if self._warm_up:
            try:
                warm_up(servable, path)
            except BaseException:
                servable.close()
                raise
        return servable


_GRACE = 10.0  # seconds for requests under way when the server stops
