"""Runs the sittings and writes `results.md`: `make bench`, or `python benchmarks/run.py ple growth --rounds 12`."""

import argparse
import json
import os
import platform
from dataclasses import replace
from datetime import date
from pathlib import Path

from contest import sit
from report import page, record
from sittings import all_sittings

HERE = Path(__file__).resolve().parent
KEPT, PAGE = HERE / "results.json", HERE / "results.md"


def stamp(batch: int, rounds: int, steps: int) -> dict[str, str]:
    """Where and when: what a reader needs to judge the times."""
    processor = platform.processor() or platform.machine()
    flags = ""
    if (cpuinfo := Path("/proc/cpuinfo")).exists():
        facts = dict(line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line)
        facts = {name.strip(): value.strip() for name, value in facts.items()}
        processor = facts.get("model name", processor)
        flags = " ".join(
            flag for flag in ("avx512f", "avx512_bf16", "amx_bf16") if flag in facts.get("flags", "").split()
        )
    return {
        "on": f"{date.today()}, {os.cpu_count()} x {processor} {flags}".strip(),
        "Python": platform.python_version(),
        "batch": str(batch),
        "rounds": f"{rounds} of {steps} steps",
        "load before": f"{os.getloadavg()[0]:.1f}",
    }


def main() -> None:
    sittings = all_sittings()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "sittings", nargs="*", metavar="sitting", help=f"some of: {', '.join(sittings)}; all if none is given"
    )
    parser.add_argument("--batch", type=int, default=2048, help="rows a step; the targets are meant for 2048")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=6, help="of each contestant, in each round")
    options = parser.parse_args()
    if unknown := set(options.sittings) - set(sittings):
        parser.error(f"no sitting {sorted(unknown)}; there are {list(sittings)}")

    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for name in options.sittings or sittings:
        where = stamp(options.batch, options.rounds, options.steps)
        entries = {
            label: replace(entry, work=replace(entry.work, batch=options.batch))
            for label, entry in sittings[name].entries.items()
        }
        timings = sit(entries, rounds=options.rounds, steps=options.steps)
        kept[name] = record(sittings[name], timings, where)
        print(page([kept[name]]))
        KEPT.write_text(json.dumps(kept, indent=1) + "\n")
        PAGE.write_text(page([kept[name] for name in sittings if name in kept]))


if __name__ == "__main__":
    main()
