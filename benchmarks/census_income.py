"""The example of Census-Income over several seeds: test AUC of PLE and of its single-task twins, mean and range, on the official split.

    python benchmarks/census_income.py --data FOLDER --seeds 1 2 3      # without --data the files are downloaded once
    python benchmarks/census_income.py --precision mixed_bfloat16

Runs `examples/census_income.py` as a user would, once a seed, and reads the table that it prints.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "census_income.py"
ROW = re.compile(r"│ (\w+) +│ +([\d.]+) │ +[\d.]+ │ +([\d.]+) │ +([+-][\d.]+) │")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder of the published files")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--precision", default="float32")
    options = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as out:
            command = [sys.executable, EXAMPLE, "--seed", str(seed), "--out", out, "--precision", options.precision]
            command += ["--data", options.data] if options.data else []
            printed = subprocess.run(
                command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "160"}
            ).stdout
        for task, ours, twin, gain in ROW.findall(printed):
            found.setdefault(task, []).append((float(ours), float(twin)))
            sys.stdout.write(f"seed {seed} {task}: PLE {ours}, single-task {twin}, gain {gain}\n")
    for task, pairs in found.items():
        ours, twins = zip(*pairs, strict=True)
        sys.stdout.write(
            f"{task}: PLE {statistics.mean(ours):.4f} ({min(ours):.4f} to {max(ours):.4f}), "
            f"single-task {statistics.mean(twins):.4f}, gain {statistics.mean(ours) - statistics.mean(twins):+.4f}\n"
        )


if __name__ == "__main__":
    main()
