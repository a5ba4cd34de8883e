"""Makes `TF_CONFIG` of what Kubernetes's JobSet tells a pod, and runs the script that follows.

    python examples/distributed/on_jobset.py train.py --data s3://bucket/rows --out /shared/out

Each replicated job of the set is a role, `worker`, or `chief`, `worker` and `ps`, and each of its pods a process of that role. `JOBS` names
those that are not called like their role.
"""

import json
import os
import runpy
import sys
from collections.abc import Mapping
from pathlib import Path

PORT = 2222


def tf_config(environment: Mapping[str, str]) -> str:
    """Of a pod with `JOBSET`, `ROLE`, `JOB_COMPLETION_INDEX` and `ROLES`, such as `{"worker": 2}`."""
    name, roles, jobs = (
        environment["JOBSET"],
        json.loads(environment["ROLES"]),
        json.loads(environment.get("JOBS", "{}")),
    )
    # JobSet's names for its pods, in the one network that it makes for them.
    cluster = {
        role: [f"{name}-{jobs.get(role, role)}-0-{index}.{name}:{PORT}" for index in range(count)]
        for role, count in roles.items()
    }
    task = {"type": environment["ROLE"], "index": int(environment["JOB_COMPLETION_INDEX"])}
    return json.dumps({"cluster": cluster, "task": task})


if __name__ == "__main__":
    os.environ["TF_CONFIG"] = tf_config(os.environ)
    script = Path(__file__).resolve().parent / sys.argv[1]
    sys.argv = [str(script), *sys.argv[2:]]
    runpy.run_path(str(script), run_name="__main__")
