"""Numbered checkpoints in a folder, each whole or not there."""

import json
import os
import re
import shutil
import uuid
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tfmtl.leftovers import held, remove_left

_NAME = re.compile(r"checkpoint-(\d{8})")
_STATE = "state.json"


class CheckpointFolder:
    """Checkpoints `checkpoint-00000001`, `...2` in one folder: files beside a `state.json` that knows their checksums.

    A checkpoint is written under another name, brought to the disk and renamed: a process that is killed meanwhile, or a disk
    that is full, leaves those before it as they are. The last two are kept.

    Args:
        path: the folder; made when the first checkpoint is written.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path).absolute()

    def numbers(self) -> list[int]:
        """The numbers of the checkpoints that lie there, the last one first."""
        if not self.path.is_dir():
            return []
        found = (_NAME.fullmatch(entry.name) for entry in self.path.iterdir())
        return sorted((int(match[1]) for match in found if match), reverse=True)

    def path_of(self, number: int) -> Path:
        """The folder of one checkpoint."""
        return self.path / f"checkpoint-{number:08d}"

    def last(self) -> tuple[int, dict[str, Any]] | None:
        """Number and state of the last checkpoint that is whole, None without any; a warning names those that are not."""
        for number in self.numbers():
            try:
                return number, _checked(self.path_of(number))
            except (OSError, ValueError, KeyError) as error:
                warnings.warn(
                    f"A checkpoint is damaged, and the one before it is taken: {self.path_of(number)}: {error}",
                    stacklevel=3,
                )
        return None

    @contextmanager
    def writing(self, number: int, state: dict[str, Any]) -> Iterator[Path]:
        """A folder to write the files of a checkpoint to; once the block is left without an error it is there, with `state`."""
        self.path.mkdir(parents=True, exist_ok=True)
        remove_left(self.path, f".checkpoint.{'[0-9a-f]' * 12}")
        partial = self.path / f".checkpoint.{uuid.uuid4().hex[:12]}"
        partial.mkdir()
        try:
            with held(partial):
                yield partial
                sums = {file.name: _checksum(file) for file in sorted(partial.iterdir())}
                (partial / _STATE).write_text(json.dumps({"files": sums, **state}), encoding="utf-8")
                for file in (*partial.iterdir(), partial):
                    _to_disk(file)
                final = self.path_of(number)
                shutil.rmtree(final, ignore_errors=True)  # a damaged one of that number
                os.rename(partial, final)
                _to_disk(self.path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        for old in self.numbers()[2:]:
            shutil.rmtree(self.path_of(old), ignore_errors=True)


def _checked(path: Path) -> dict[str, Any]:
    """The state of a checkpoint; ValueError, OSError or KeyError if a file of it is not what was written."""
    state: dict[str, Any] = json.loads((path / _STATE).read_text(encoding="utf-8"))
    for name, checksum in state["files"].items():
        if _checksum(path / name) != checksum:
            raise ValueError(f"{name} is not what was written")
    return state


def _checksum(path: Path) -> int:
    found = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found = zlib.crc32(block, found)
    return found


def _to_disk(path: Path) -> None:
    """Has the system write what it holds back of a file, or of a folder's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
