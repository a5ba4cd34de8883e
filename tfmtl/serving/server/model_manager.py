"""Loads, swaps and unloads versions while requests go on."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tensorflow_serving.apis import get_model_status_pb2

from tfmtl.serving.protocol.version_folders import describe_base_path, find_versions
from tfmtl.serving.server.model_config import ModelConfig
from tfmtl.serving.server.servable import Servable
from tfmtl.serving.server.serving_error import Code, ServingError, as_serving_error, invalid

_log = logging.getLogger(__name__)

_WAIT_STEP = 0.2  # seconds between two looks at the disk while a new model is awaited

START, LOADING, AVAILABLE, UNLOADING, END = (
    get_model_status_pb2.ModelVersionStatus.State.Value(name)
    for name in ("START", "LOADING", "AVAILABLE", "UNLOADING", "END")
)

Loader = Callable[[str, int, Path], Servable]
"""`(name, version, path)` to a servable that is restored and warmed up."""


@dataclass
class VersionStatus:
    """What became of one version. Versions that failed or were unloaded stay listed, at `END`."""

    version: int
    state: int = START
    error: ServingError | None = None
    servable: Servable | None = None
    users: int = 0
    given_up: bool = False  # failed, and not tried again while its folder stays


class ModelManager:
    """The models of a server.

    A new version is loaded and warmed up beside the old one; then requests move over, and the old version is freed
    when its last request has been answered. A version that fails to load changes nothing for the others.

    Args:
        load: Loader.
        max_load_retries: int. How often a failed load is tried again.
        load_retry_interval: float. Seconds between two tries.
        allow_early_labels: bool. Let new labels name versions that are not available yet.
    """

    def __init__(
        self,
        load: Loader,
        *,
        max_load_retries: int = 0,
        load_retry_interval: float = 60.0,
        allow_early_labels: bool = False,
    ) -> None:
        self._load = load
        self._allow_early_labels = allow_early_labels
        self._max_load_retries = max_load_retries
        self._load_retry_interval = load_retry_interval
        self._configs: dict[str, ModelConfig] = {}
        self._versions: dict[str, dict[int, VersionStatus]] = {}
        self._labels: Mapping[str, Mapping[str, int]] = {}
        self._lock = threading.Lock()  # held for moments: guards states, users and labels
        self._reconciling = threading.RLock()  # held while versions load: one change at a time
        self._closing = threading.Event()
        self._unlisted = ""  # why the last look at the disk saw nothing

    def configure(self, configs: Sequence[ModelConfig], *, timeout: float) -> None:
        """Replaces what is served: loads, keeps and unloads as the new configs say.

        Args:
            configs: sequence of ModelConfig.
            timeout: float. Seconds to wait for the first version of a new model to appear on disk.

        Raises:
            ServingError: FAILED_PRECONDITION, a label names a version that is not available yet, and nothing was
                changed; UNKNOWN, a new model has no version that loads.
        """
        with self._reconciling:
            labels = self._checked_labels(configs)
            new = {config.name for config in configs} - self._configs.keys()
            self._configs = {config.name: config for config in configs}
            with self._lock:
                self._labels = labels
            self._await(sorted(new), time.monotonic() + timeout)

    def _await(self, names: Sequence[str], deadline: float) -> None:
        awaited: list[str] = []
        while True:
            self.poll()
            missing = [name for name in names if not self.is_available(name)]
            if not missing:
                return
            reasons = ", ".join(self._explain(name) for name in missing)
            over = time.monotonic() > deadline
            over |= any(status.given_up for name in missing for status in self.statuses(name))
            if missing != awaited and not over:  # said once, not at every look at the disk
                awaited = missing
                _log.info("waiting for %s", reasons)
            if over or self._closing.wait(_WAIT_STEP):
                raise ServingError(Code.UNKNOWN, f"{len(missing)} model(s) did not become available: {reasons}")

    def poll(self) -> None:
        """Looks at the disk once and follows it.

        A base path that cannot be listed ends the round before anything is changed, for every model.
        """
        with self._reconciling:
            wanted: dict[str, dict[int, Path]] = {}
            for config in self._configs.values():
                try:
                    wanted[config.name] = config.policy.select(find_versions(config.base_path))
                except OSError as error:
                    if str(error) != self._unlisted:
                        self._unlisted = str(error)
                        _log.error("no model is updated: the base path of %s cannot be listed: %s", config.name, error)
                    return
            self._unlisted = ""
            for name in self._versions.keys() - wanted.keys():
                self._follow(name, {})
            for name, versions in wanted.items():
                self._follow(name, versions)

    def _checked_labels(self, configs: Sequence[ModelConfig]) -> dict[str, Mapping[str, int]]:
        for config in configs:
            for label, version in config.labels.items():
                moved = self._labels.get(config.name, {}).get(label, version) != version
                if self._allow_early_labels and not moved:
                    continue
                status = self._versions.get(config.name, {}).get(version)
                if status is None or status.state != AVAILABLE:
                    raise ServingError(
                        Code.FAILED_PRECONDITION,
                        f"Label {label} of model {config.name} points to version {version}, which is not available",
                    )
        return {config.name: config.labels for config in configs}

    @contextlib.contextmanager
    def servable(self, spec: Any) -> Iterator[Servable]:
        """Lends the servable that a ModelSpec asks for; it stays loaded until it is given back.

        Raises:
            ServingError: INVALID_ARGUMENT, no name or an unknown label; NOT_FOUND, no such model or version loaded.
        """
        with self._lock:
            status, servable = self._find(spec)
            status.users += 1
        try:
            yield servable
        finally:
            with self._lock:
                status.users -= 1
                idle = self._take_if_idle(status)
            self._free(status, idle)

    def statuses(self, name: str) -> list[VersionStatus]:
        """All versions that were ever seen of a model, the newest first."""
        with self._lock:
            return [self._versions[name][version] for version in sorted(self._versions.get(name, {}), reverse=True)]

    def is_available(self, name: str) -> bool:
        """Whether some version of the model answers requests."""
        return any(status.state == AVAILABLE for status in self.statuses(name))

    def _explain(self, name: str) -> str:
        failed = [f"version {status.version}: {status.error}" for status in self.statuses(name) if status.error]
        return f"{name} ({'; '.join(failed) or describe_base_path(self._configs[name].base_path)})"

    def cancel(self) -> None:
        """Ends every wait: for a first version, for another try."""
        self._closing.set()

    def close(self, timeout: float = -1) -> None:
        """Unloads everything; requests under way keep what they use until they are answered.

        Args:
            timeout: float. Seconds to wait for a version that is being loaded; beyond, nothing is unloaded.
        """
        self.cancel()
        if not self._reconciling.acquire(timeout=timeout):
            _log.warning("a version is still being loaded after %s s; nothing is unloaded", timeout)
            return
        try:
            self._configs = {}
            for name in list(self._versions):
                self._follow(name, {})
        finally:
            self._reconciling.release()

    def _find(self, spec: Any) -> tuple[VersionStatus, Servable]:
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        available = {
            version: (status, status.servable)
            for version, status in self._versions.get(spec.name, {}).items()
            if status.state == AVAILABLE and status.servable is not None
        }
        match spec.WhichOneof("version_choice"):
            case None:
                if not available:
                    raise ServingError(Code.NOT_FOUND, f"Servable not found for request: Latest({spec.name})")
                return available[max(available)]
            case "version":
                wanted = spec.version.value
            case _:
                labels = self._labels.get(spec.name, {})
                if spec.version_label not in labels:
                    raise invalid(f"Unrecognized servable version label: {spec.version_label}")
                wanted = labels[spec.version_label]
        if wanted not in available:
            raise ServingError(Code.NOT_FOUND, f"Servable not found for request: Specific({spec.name}, {wanted})")
        return available[wanted]

    def _follow(self, name: str, wanted: Mapping[int, Path]) -> None:
        """Loads what is wanted and not there, then unloads what is there and not wanted.

        Availability comes first: while something is wanted, the old stays until something wanted is available.
        """
        versions = self._versions.setdefault(name, {})
        fresh = [version for version in sorted(wanted, reverse=True) if _may_load(versions.get(version))]
        with self._lock:
            versions.update((version, VersionStatus(version)) for version in fresh)
        for version in fresh:
            self._bring_up(name, versions[version], wanted[version])
        ready = not wanted or any(versions[version].state == AVAILABLE for version in wanted)
        for version, status in sorted(versions.items()):
            if version in wanted:
                continue
            status.given_up = False  # its folder is gone; should the number come back, it is a new export
            if status.state == AVAILABLE and ready:
                self._take_down(name, status)

    def _bring_up(self, name: str, status: VersionStatus, path: Path) -> None:
        with self._lock:
            status.state = LOADING
        for remaining in range(self._max_load_retries, -1, -1):
            try:
                servable = self._load(name, status.version, path)
            except Exception as error:
                failure = as_serving_error(error)
                _log.error("version %d of model %s does not load: %s", status.version, name, failure)
                if remaining and not self._closing.wait(self._load_retry_interval):
                    continue
                with self._lock:
                    status.state, status.error, status.given_up = END, failure, True
                return
            with self._lock:
                status.servable, status.state = servable, AVAILABLE
            _log.info("version %d of model %s is available", status.version, name)
            return

    def _take_down(self, name: str, status: VersionStatus) -> None:
        with self._lock:
            status.state = UNLOADING
            servable = self._take_if_idle(status)
        _log.info("version %d of model %s is being unloaded", status.version, name)
        self._free(status, servable)

    def _take_if_idle(self, status: VersionStatus) -> Servable | None:
        """The servable of an unloading version that nobody uses any more, handed out once."""
        if status.state != UNLOADING or status.users:
            return None
        servable, status.servable = status.servable, None
        return servable

    def _free(self, status: VersionStatus, servable: Servable | None) -> None:
        if servable is not None:
            servable.close()
            with self._lock:
                status.state = END


def _may_load(status: VersionStatus | None) -> bool:
    return status is None or (status.state == END and not status.given_up)
