"""The workload with torch-rechub, in an environment of its own (requirements-rechub.txt)."""

import itertools
import os

import torch
import torch_rechub
from child import each, serve
from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.models.multi_task import PLE
from workload import (
    BATCHES,
    CATEGORICAL,
    DIM,
    EXPERT_UNITS,
    LEVELS,
    NUMERIC,
    SHARED_EXPERTS,
    TASK_EXPERTS,
    TOWER_UNITS,
    Workload,
)


def main() -> None:
    workload = Workload.from_arguments()
    torch.set_num_threads(os.cpu_count() or 1)
    features = [SparseFeature(f"s{i}", vocab_size=workload.ids, embed_dim=DIM) for i in range(CATEGORICAL)]
    features += [DenseFeature(f"d{i}") for i in range(NUMERIC)]
    kinds, expert, tower = ["classification"] * workload.tasks, {"dims": [EXPERT_UNITS]}, {"dims": [TOWER_UNITS]}
    model = PLE(features, kinds, LEVELS, TASK_EXPERTS, SHARED_EXPERTS, expert, [tower] * workload.tasks)
    optimizer, cross_entropy = torch.optim.Adam(model.parameters()), torch.nn.BCELoss()

    ids, numbers, labels = workload.batches()
    columns = {f"s{i}": torch.tensor(ids[..., i].astype("int64")) for i in range(CATEGORICAL)}
    columns |= {f"d{i}": torch.tensor(numbers[..., i]) for i in range(NUMERIC)}
    targets = torch.tensor(labels)
    turns = itertools.cycle(range(BATCHES))

    def step() -> None:
        turn = next(turns)
        predictions = model({name: column[turn] for name, column in columns.items()})
        loss = sum(cross_entropy(predictions[:, i], targets[turn, :, i]) for i in range(workload.tasks))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    versions = {"torch-rechub": torch_rechub.__version__, "torch": torch.__version__}
    serve(each(step), versions=versions, weights=sum(p.numel() for p in model.parameters()))


if __name__ == "__main__":
    main()
