"""What a version costs as tasks and features grow: its export, and its start on a server with warm-up.

    python benchmarks/serving_tasks.py            # 3, 15 and 60 tasks; 300 features; about 4 minutes
    python benchmarks/serving_tasks.py 60x8 3x300 # of your own

Each figure is of a process of its own. The page is written to `serving_tasks.md` beside this file.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

SIZES = ("3x8", "15x8", "60x8", "3x300")
NOTE = """\
A PLE of the default sizes; categorical features of 100 ids, every second of them the user's. CPU seconds of all threads beyond the
imports, and the process's largest memory. Export: compared on 64 rows through every signature, warm-up requests replayed. Start:
loaded by the local server and warmed up by the file that the export wrote, four batch sizes for each signature. First step: build,
compile and one step of 256 rows with LazyAdam."""


@contextmanager
def measured(found: dict[str, float], name: str) -> Iterator[None]:
    """Adds the CPU seconds and the seconds of a block, and the process's peak in GB, to `found`."""
    cpu, clock = time.process_time(), time.perf_counter()
    yield
    found[name] = time.process_time() - cpu
    found[f"{name} clock"] = time.perf_counter() - clock
    found["GB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def begin(tasks: int, features: int) -> dict[str, float]:
    """Builds, compiles and takes a first step."""
    import numpy as np

    import tfmtl

    found: dict[str, float] = {}
    schema = _schema(tasks, features)
    rows = {feature.name: np.zeros(256, np.int32) for feature in schema.features}
    labels = {task: np.zeros((256, 1), np.float32) for task in schema.task_names}
    with measured(found, "first step"):
        model = tfmtl.models.ple(schema, base_rates={})
        model.compile(tfmtl.LazyAdam(), **tfmtl.objectives(schema.tasks))
        model.fit(rows, labels, batch_size=256, epochs=1, verbose=0)
    return found


def write(tasks: int, features: int, base: str) -> dict[str, float]:
    """Exports."""
    import numpy as np

    import tfmtl

    found: dict[str, float] = {}
    schema = _schema(tasks, features)
    model = tfmtl.models.ple(schema, base_rates={})
    random = np.random.default_rng(0)
    rows = {feature.name: random.integers(0, 100, 64) for feature in schema.features}
    with measured(found, "export"):
        tfmtl.export(model, base, schema, examples=rows)
    return found


def start(tasks: int, features: int, base: str) -> dict[str, float]:
    """Loads and warms up."""
    from tfmtl.serving.server import LocalServer

    found: dict[str, float] = {}
    with measured(found, "start"), LocalServer(base, poll_interval=0, start_timeout=600):
        pass
    found["MB"] = (Path(base) / "1" / "saved_model.pb").stat().st_size / 1e6
    return found


def _schema(tasks: int, features: int):
    import tfmtl

    return tfmtl.Schema(
        [tfmtl.Categorical(f"f{i}", num_ids=100, side=("user", "item")[i % 2]) for i in range(features)],
        [tfmtl.Task(f"t{i}") for i in range(tasks)],
    )


def apart(what: str, *arguments: object) -> dict[str, float]:
    """The figures of one of the functions above, in a process of its own."""
    command = [sys.executable, __file__, "--only", what, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(size: str) -> str:
    """A row of the table."""
    tasks, features = map(int, size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        base = f"{folder}/ranker"
        first = apart("begin", tasks, features)
        exported, started = apart("write", tasks, features, base), apart("start", tasks, features, base)
    cells = (
        f"{first['first step']:.1f}",
        f"{exported['export']:.1f}",
        f"{exported['GB']:.2f}",
        f"{started['start']:.1f}",
        f"{started['GB']:.2f}",
        f"{started['MB']:.1f}",
    )
    return f"| {tasks} | {features} | " + " | ".join(cells) + " |"


def main() -> None:
    if sys.argv[1:2] == ["--only"]:
        what, tasks, features, *rest = sys.argv[2:]
        function = {"begin": begin, "write": write, "start": start}[what]
        print(json.dumps(function(int(tasks), int(features), *rest)))
        return
    load = os.getloadavg()[0]
    rows = [measure(size) for size in sys.argv[1:] or SIZES]
    where = f"{date.today()}, {os.cpu_count()} x {platform.processor() or platform.machine()}, load before {load:.1f}"
    table = [
        "| tasks | features | first step, CPU s | export, CPU s | GB | start with warm-up, CPU s | GB | graph, MB |",
        "| --- " * 8 + "|",
        *rows,
    ]
    page = "\n".join(["# Serving many tasks and features", "", f"{where}. {NOTE}", "", *table, ""])
    if not sys.argv[1:]:
        Path(__file__).with_name("serving_tasks.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
