"""Runs the sittings and writes a page for this machine: `make bench`, or `python benchmarks/run.py ple growth --rounds 12`."""

import argparse
import json
import os
import platform
import re
from dataclasses import replace
from datetime import date
from pathlib import Path

from contest import sit
from report import page, record
from sittings import all_sittings

RESULTS = Path(__file__).resolve().parent / "results"


def machine() -> str:
    """The processor, as often as it is there, and what it has for products of matrices."""
    processor = platform.processor() or platform.machine()
    flags = ""
    if (cpuinfo := Path("/proc/cpuinfo")).exists():
        facts = dict(line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line)
        facts = {name.strip(): value.strip() for name, value in facts.items()}
        processor = facts.get("model name", processor)
        flags = " ".join(
            flag for flag in ("avx512f", "avx512_bf16", "amx_bf16") if flag in facts.get("flags", "").split()
        )
    return f"{os.cpu_count()} x {processor} {flags}".strip()


def slug(text: str) -> str:
    """`text` as a file's name: `2 x Intel(R) Xeon(R)` is `2-intel-xeon`."""
    return "-".join(word for word in re.findall(r"[a-z0-9]+", re.sub(r"\(\w+\)", " ", text.lower())) if word != "x")


def stamp(batch: int, rounds: int, steps: int) -> dict[str, str]:
    """Where and when: what a reader needs to judge the times."""
    return {
        "on": f"{date.today()}, {machine()}",
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

    RESULTS.mkdir(exist_ok=True)
    data = RESULTS / f"{slug(machine())}.json"
    kept = json.loads(data.read_text()) if data.exists() else {}
    for name in options.sittings or sittings:
        where = stamp(options.batch, options.rounds, options.steps)
        entries = {
            label: replace(entry, work=replace(entry.work, batch=options.batch))
            for label, entry in sittings[name].entries.items()
        }
        timings = sit(entries, rounds=options.rounds, steps=options.steps)
        kept[name] = record(sittings[name], timings, where)
        print(page([kept[name]]))
        data.write_text(json.dumps(kept, indent=1) + "\n")
        data.with_suffix(".md").write_text(page([kept[name] for name in sittings if name in kept]))


if __name__ == "__main__":
    main()
