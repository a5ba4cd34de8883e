"""The sizes of PLE's paper, which the models that it is measured against share.

By default all have the sizes of Tang et al. (PLE), RecSys 2020, section 5.1.3: an MLP of (256, 128, 64) for every task,
experts of a single layer. So where there is one level of experts (`mmoe`, `omoe`, `cgc`), they are the first layer and
the tower is the other two; where there are two (`ple`, `ml_mmoe`), or networks without gates, the tower is the last
(`sluice` mixes its layers, so they have one width). That experts count as layers is our reading, the first of
`PLE_DEPTHS`.
"""

from tfmtl.schema import Schema

PLE_DEPTHS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "paper_depth_matched": ((256, 128), (64,)),
    "paper_full_tower": ((256, 128), (256, 128, 64)),
}
"""The paper's MLP of [256, 128, 64] can be read in two ways: experts and tower together are as deep as a single-task
model's, or the tower alone is. `{reading: (units of the levels, units of a tower)}`."""


def experts_of_a_level(schema: Schema, num_experts: int | None) -> int:
    """`num_experts`, or as many as a level of PLE has by default: two for each task and two more, whoever reads them.

    The paper gives no number of experts. A trunk by itself, which does not know the tasks, has the 8 of MMoE's paper.
    """
    return 2 * len(schema.tasks) + 2 if num_experts is None else num_experts
