"""What is compared with what, and what is claimed of it."""

from dataclasses import dataclass, field

from contest import Entry
from workload import Workload

NEEDED_MEMORY = "needed memory"
"""What a claim of memory is held against: weights, their two moments and four batches of activations."""


@dataclass(frozen=True)
class Claim:
    """`label / against` must be at most (or at least) `target`, both medians multiplied by their factor.

    Against `NEEDED_MEMORY` it is the peak memory of `label`, less what its imports take.
    """

    text: str
    label: str
    against: str
    at_most: float | None = None
    at_least: float | None = None
    factor: float = 1.0


@dataclass(frozen=True)
class Sitting:
    """Entries that take turns, and claims about their medians.

    Args:
        title: of its section.
        entries: by label.
        claims: what should hold.
    """

    title: str
    entries: dict[str, Entry] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)


def ours(**work: object) -> Entry:
    return Entry("step_tfmtl", Workload(**work))


def keras(**work: object) -> Entry:
    return Entry("step_keras", Workload(**work))


def faster(rival: str, times: float, label: str = "tfmtl", factor: float = 1.0, text: str = "") -> Claim:
    """`rival` takes at least `times` as long as `label`; `factor` scales the rival."""
    return Claim(text or f"{rival} / {label}", rival, label, at_least=times, factor=factor)


def rivals(ids: int, against_keras: float, against_rechub: float, against_bfloat16: float) -> Sitting:
    work = {"ids": ids}
    return Sitting(
        f"PLE, 2 tasks, {ids:,} ids a feature",
        {
            "matmul floor": Entry("floor", Workload(**work)),
            "tfmtl": ours(**work),
            "Keras 3 by hand": keras(**work),
            "DeepCTR": Entry("step_deepctr", Workload(**work), peer="deepctr"),
            "torch-rechub": Entry("step_rechub", Workload(**work), peer="rechub"),
            "tfmtl bfloat16": ours(**work, precision="mixed_bfloat16"),
            "Keras 3 by hand bfloat16": keras(**work, precision="mixed_bfloat16"),
            "matmul floor bfloat16": Entry("floor", Workload(**work, precision="mixed_bfloat16")),
        },
        [
            faster("Keras 3 by hand", against_keras),
            faster("DeepCTR", against_keras),
            faster("torch-rechub", against_rechub),
            faster("Keras 3 by hand bfloat16", against_bfloat16, "tfmtl bfloat16"),
        ],
    )


def stem_net(ids: int, authors: float, float32: float | None, bfloat16: float | None) -> Sitting:
    """The authors' PyTorch code was measured beside the hand-written PLE: it takes `authors` times as long."""
    claims = [
        faster(
            "Keras 3 by hand", times, label, authors, f"STEM-Net by its authors ({authors} x Keras 3 by hand) / {label}"
        )
        for label, times in (("STEM-Net", float32), ("STEM-Net bfloat16", bfloat16))
        if times
    ]
    return Sitting(
        f"STEM-Net, 2 tasks, {ids:,} ids a feature",
        {
            "STEM-Net": ours(ids=ids, model="stem_net"),
            "STEM-Net bfloat16": ours(ids=ids, model="stem_net", precision="mixed_bfloat16"),
            "Keras 3 by hand": keras(ids=ids),
        },
        claims,
    )


def growth(tasks: list[int]) -> Sitting:
    """The experts' FLOPs grow with the tasks; the step must not grow faster by more than 15 %."""
    first, last = tasks[0], tasks[-1]
    flops = Workload(tasks=last).matmul_flops / Workload(tasks=first).matmul_flops
    return Sitting(
        f"Growth from {first} to {last} tasks, experts per task fixed",
        {f"{number} tasks": ours(tasks=number) for number in tasks},
        [
            Claim(
                f"step ({last} / {first} tasks) over matmul FLOPs ({flops:.2f})",
                f"{last} tasks",
                f"{first} tasks",
                1.15,
                factor=1 / flops,
            )
        ],
    )


def all_sittings() -> dict[str, Sitting]:
    small, large = rivals(20_000, 1.3, 1.9, 1.4), rivals(200_000, 1.8, 3.0, 2.2)
    small.claims[:0] = [
        Claim("tfmtl / matmul floor, float32", "tfmtl", "matmul floor", at_most=1.35),
        Claim(
            "tfmtl bfloat16 / float32 matmul floor (CPU with AVX-512 BF16)",
            "tfmtl bfloat16",
            "matmul floor",
            at_most=0.9,
        ),
    ]
    return {
        "ple": small,
        "ple-large": large,
        "ple-8-tasks": Sitting(
            "PLE, 8 tasks, 20,000 ids a feature",
            {
                "matmul floor": Entry("floor", Workload(tasks=8)),
                "tfmtl": ours(tasks=8),
                "Keras 3 by hand": keras(tasks=8),
            },
            [Claim("tfmtl / matmul floor, float32", "tfmtl", "matmul floor", at_most=1.35)],
        ),
        "tables": Sitting(
            "2,000,000 ids a feature against 20,000, the same rows touched",
            {"20,000 ids": ours(), "2,000,000 ids": ours(ids=2_000_000, drawn=20_000)},
            [
                Claim("2,000,000 ids / 20,000 ids", "2,000,000 ids", "20,000 ids", at_most=1.15),
                *(
                    Claim(f"peak memory / needed, {label}", label, NEEDED_MEMORY, at_most=1.2)
                    for label in ("2,000,000 ids", "20,000 ids")
                ),
            ],
        ),
        "stem-net": stem_net(20_000, 1.3, 2.0, 4.0),
        "stem-net-large": stem_net(200_000, 6.0, 10.0, None),
        "growth": growth([2, 4, 8, 16]),
        "reading": Sitting(
            "Reading a cold file into encoded batches: ms for 2048 rows",
            {
                "read, Parquet": Entry("step_reading", Workload(model="parquet")),
                "read, Parquet, shuffled": Entry("step_reading", Workload(model="parquet shuffled")),
                "read, CSV": Entry("step_reading", Workload(model="csv")),
                "make_csv_dataset": Entry("step_reading", Workload(model="make_csv_dataset")),
                "PLE step": ours(),
            },
            [
                Claim("PLE step / read, Parquet", "PLE step", "read, Parquet", at_least=5),
                Claim("make_csv_dataset / read, Parquet", "make_csv_dataset", "read, Parquet", at_least=3),
            ],
        ),
        "metrics": Sitting(
            "AUC, log loss and calibration of every task against no metric",
            {"no metrics": ours(), "all metrics": ours(metrics=1)},
            [Claim("all metrics / none", "all metrics", "no metrics", at_most=1.03)],
        ),
    }
