"""Parquet files as one stream of Arrow batches."""

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.dataset as pa_dataset
import pyarrow.parquet as pa_parquet
from pyarrow import types

from tfmtl.data.arrow import SCAN_ROWS, Piece
from tfmtl.data.columns import Column, Physical, check_types, physical_of
from tfmtl.data.csv_format import CsvFormat
from tfmtl.data.decoding import cast, common_schema, own_schema
from tfmtl.data.skipped import Skipped
from tfmtl.data.store import Store

_READAHEAD = {"batch_readahead": 2, "fragment_readahead": 4}


class ParquetReader:
    """Parquet files, read by row group. Text is read as codes and a dictionary, as the files hold it."""

    form: CsvFormat | None = None

    def __init__(self, files: tuple[str, ...], store: Store, names: Iterable[str], skipped: Skipped | None = None):
        self.files = files
        self.skipped = skipped
        self.store = store
        self.physical: list[Physical] = []
        pieces: list[Piece] = []
        for number, file in enumerate(files):
            try:
                metadata = pa_parquet.read_metadata(store.path(file), filesystem=store.filesystem)
                schema = metadata.schema.to_arrow_schema()
            except (pa.ArrowException, OSError) as error:
                raise ValueError(f"{file}: not a readable Parquet file: {error}") from error
            self.physical.append(physical_of(file, schema, names))
            first_row = 0
            for group in range(metadata.num_row_groups):
                num_rows = metadata.row_group(group).num_rows
                pieces.append(Piece(number, first_row, num_rows, group))
                first_row += num_rows
        self.pieces = tuple(pieces)

    def check(self, columns: Sequence[Column]) -> None:
        """Raises ValueError if a column is of another type than needed."""
        for file, physical in zip(self.files, self.physical, strict=True):
            check_types(file, columns, physical)

    def scan(self, pieces: Sequence[Piece], columns: Sequence[Column]) -> Iterator[tuple[Piece, pa.RecordBatch]]:
        """The batches of `pieces`, in order; several are decoded at a time."""
        schema = common_schema(columns, self.physical)
        own = [own_schema(schema, physical) for physical in self.physical]
        # Files of other types have a scan of their own, which goes on whenever it is their turn.
        scans = {kind: self._decoded([p for p in pieces if own[p.file] == kind], kind) for kind in dict.fromkeys(own)}
        for piece in pieces:
            seen = 0
            while seen < (piece.num_rows or 0):
                batch = next(scans[own[piece.file]], None)
                if batch is None:
                    raise ValueError(
                        f"{self.files[piece.file]}: the file changed while it was read: row {piece.first_row + seen} is gone."
                    )
                yield piece, cast(batch, schema, self.files[piece.file], piece.first_row + seen, self.skipped)
                seen += batch.num_rows

    def _decoded(self, pieces: Sequence[Piece], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The batches of pieces whose files hold the types of `schema`."""
        text = [name for name in schema.names if types.is_dictionary(schema.field(name).type)]
        options = pa_dataset.ParquetReadOptions(dictionary_columns=text)
        arrow_format = pa_dataset.ParquetFileFormat(read_options=options)
        filesystem = self.store.filesystem
        whole = {
            n: arrow_format.make_fragment(self.store.path(self.files[n]), filesystem) for n in {p.file for p in pieces}
        }
        fragments = [whole[piece.file].subset(row_group_ids=[piece.group]) for piece in pieces]
        try:
            dataset = pa_dataset.FileSystemDataset(fragments, schema, arrow_format, filesystem)
            yield from dataset.to_batches(batch_size=SCAN_ROWS, **_READAHEAD)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{self._broken(pieces, schema)}: not a readable Parquet file: {error}") from error

    def _broken(self, pieces: Sequence[Piece], schema: pa.Schema) -> str:
        """The first of the files that cannot be read through."""
        for file in dict.fromkeys(self.files[piece.file] for piece in pieces):
            try:
                path = self.store.path(file)
                one = pa_dataset.dataset(path, schema=schema, format="parquet", filesystem=self.store.filesystem)
                for _ in one.to_batches():
                    pass
            except (pa.ArrowException, OSError):
                return file
        return " or ".join(self.files)
