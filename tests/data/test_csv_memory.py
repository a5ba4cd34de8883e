"""CSV files cost memory by the block, not by the file."""

import gzip
import shutil

import pytest
from harness import run_fresh

READ = """
import resource
import sys

import tfmtl
from tfmtl import Numeric, Schema, Task

schema = Schema([Numeric("a", transform=None)], [Task("click")])
batches = iter(tfmtl.read(r"{path}", schema, batch_size=512))
next(batches)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for _ in range({steps}):
    next(batches)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_a_large_file_costs_no_more_than_a_few_blocks(tmp_path, suffix):
    path = tmp_path / "rows.csv"
    with path.open("w") as file:
        file.write("a,b,click\n")
        for start in range(0, 8_000_000, 1_000_000):
            file.writelines(
                f"{i / 7},some text that nobody reads {i},{i % 2}\n" for i in range(start, start + 1_000_000)
            )
    if suffix == "csv.gz":
        with path.open("rb") as plain, gzip.open(tmp_path / "rows.csv.gz", "wb", compresslevel=1) as packed:
            shutil.copyfileobj(plain, packed)
        path = tmp_path / "rows.csv.gz"
    assert int(run_fresh(READ.format(path=path, steps=4000)).split()[-1]) < 150  # MB, of 400 MB of text
