"""Ids and their vectors in files, as other programs read and write them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfmtl.atomic_file import replacing
from tfmtl.paths import local_path

TEXT = (".vec", ".txt", ".tsv")


def read_vectors(path: str | os.PathLike[str]) -> tuple[list[Any], np.ndarray]:
    """`(ids, (N, dim))` of a file: `.parquet`, `.npz`, or text with an id and its numbers on a line."""
    file = local_path(path, "vectors")
    if file.suffix == ".parquet":
        table = pq.read_table(file)
        if not {"id", "vector"} <= set(table.column_names):
            raise ValueError(f"{str(file)!r} needs the columns `id` and `vector`. Received: {table.column_names}")
        return table["id"].to_pylist(), _matrix(file, table["vector"].to_pylist())
    if file.suffix == ".npz":
        with np.load(file) as arrays:
            if not {"ids", "vectors"} <= set(arrays.files):
                raise ValueError(f"{str(file)!r} needs the arrays `ids` and `vectors`. Received: {arrays.files}")
            return arrays["ids"].tolist(), arrays["vectors"]
    if file.suffix in TEXT:
        return _read_text(file)
    raise ValueError(f"Vectors come from `.parquet`, `.npz`, {', '.join(TEXT)}. Received: vectors={str(file)!r}")


def _read_text(file: Path) -> tuple[list[Any], np.ndarray]:
    """An id and its numbers on a line, apart by tabs or spaces; a first line of two counts, as word2vec writes it, is left out.

    An id may hold spaces where tabs part the numbers.
    """
    ids, rows = [], []
    with open(file, encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            parts = line.rstrip("\r\n").split("\t") if "\t" in line else line.split()
            counts = number == 0 and "\t" not in line and len(parts) == 2 and all(part.isdecimal() for part in parts)
            if counts or not parts:
                continue
            try:
                rows.append([float(part) for part in parts[1:]])
            except ValueError as error:
                raise ValueError(
                    f"Line {number + 1} of {str(file)!r} is no id with numbers. Received: {line[:80]!r}"
                ) from error
            ids.append(parts[0])
    return ids, _matrix(file, rows)


def _matrix(file: Path, rows: Sequence[Sequence[float]]) -> np.ndarray:
    widths = sorted({len(row) for row in rows})
    if len(widths) != 1:
        raise ValueError(f"{str(file)!r} must hold vectors of one width, at least one. Received: widths={widths[:5]}")
    return np.array(rows, "float32")


def write_vectors(path: str | os.PathLike[str], ids: Sequence[Any], vectors: np.ndarray) -> None:
    """Writes what `read_vectors` reads; the file appears when it is whole."""
    file = local_path(path, "path")
    if file.suffix not in (".parquet", ".npz", *TEXT):
        raise ValueError(f"Vectors go to `.parquet`, `.npz`, {', '.join(TEXT)}. Received: path={str(file)!r}")
    if file.suffix != ".parquet":
        _check_plain(ids)
    with replacing(file) as partial:
        if file.suffix == ".parquet":
            kind = pa.list_(pa.float32(), vectors.shape[1])
            column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel(), pa.float32()), type=kind)
            pq.write_table(pa.table({"id": pa.array(ids), "vector": column}), partial)
        elif file.suffix == ".npz":
            with open(partial, "wb") as target:
                np.savez(target, ids=np.array(ids), vectors=vectors)
        else:
            _write_lines(partial, ([str(value), *map(_short, row)] for value, row in zip(ids, vectors, strict=True)))


def write_projector(folder: str | os.PathLike[str], name: str, labels: Sequence[Any], vectors: np.ndarray) -> None:
    """Writes `{name}_vectors.tsv`, `{name}_labels.tsv` and the `projector_config.pbtxt` that TensorBoard looks for."""
    place = local_path(folder, "folder")
    names = {kind: f"{name}_{kind}.tsv" for kind in ("vectors", "labels")}
    with replacing(place / names["vectors"]) as partial:
        _write_lines(partial, (list(map(_short, row)) for row in vectors))
    with replacing(place / names["labels"]) as partial:
        _write_lines(partial, ([_one_line(label)] for label in labels))
    quoted = {kind: _quoted(file) for kind, file in names.items()}
    with replacing(place / "projector_config.pbtxt") as partial:
        partial.write_text(
            f"embeddings {{\n  tensor_name: {_quoted(name)}\n  tensor_path: {quoted['vectors']}\n"
            f"  metadata_path: {quoted['labels']}\n}}\n",
            encoding="utf-8",
        )


def _check_plain(ids: Sequence[Any]) -> None:
    """Raises ValueError for an id that text or NumPy's texts of a fixed width would not give back."""
    broken = [value for value in ids if isinstance(value, str) and (set(value) & set("\t\r\n") or value[-1:] == "\0")]
    if broken:
        raise ValueError(f"Ids with tabs, line ends or a NUL at the end need a `.parquet` file. Received: {broken[:3]}")


def _write_lines(file: Path, rows: Any) -> None:
    with open(file, "w", encoding="utf-8", newline="\n") as target:
        target.writelines("\t".join(row) + "\n" for row in rows)


def _short(number: Any) -> str:
    """A float32 in as few digits as bring it back."""
    return str(np.float32(number))


def _one_line(label: Any) -> str:
    return str(label).translate({ord(c): " " for c in "\t\r\n"})


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
