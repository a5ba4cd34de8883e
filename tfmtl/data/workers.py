"""Whether other processes train on the same data."""

import json
import os


def check_alone() -> None:
    """Raises ValueError if this process is one of several workers that `TF_CONFIG` names.

    Each of them takes every n-th batch of what it reads. That is a share of the rows only where all read them in one
    order: where each shuffles for itself, a quarter of the rows of two workers is in no batch, and as many are in two. Under
    parameter servers workers draw rows independently of each other anyway.
    """
    config = json.loads(os.environ.get("TF_CONFIG") or "{}")
    cluster, index = config.get("cluster", {}), config.get("task", {}).get("index", 0)
    workers = len(cluster.get("worker", ())) + len(cluster.get("chief", ()))
    if workers > 1 and "ps" not in cluster:
        raise ValueError(
            f"`shuffle` needs `shard` where {workers} workers train together: each would see rows in an order of its own, and "
            f"some rows in no batch. Give every worker its part, such as `shard=({index}, {workers})`. Received: shard=(0, 1)"
        )
