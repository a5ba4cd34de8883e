"""Multi-faceted hierarchies of switchers (MFH), and single ones (H-MTL)."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from tfmtl.checks import check_option
from tfmtl.initializers import fresh_layer
from tfmtl.keras_host import keras, ops, register_layer
from tfmtl.layers.stream_checks import check_streams, task_names
from tfmtl.stages.stage import Gated
from tfmtl.stages.trunks.tree_plan import Facets, TreeMode, TreeNode, check_facets, leaf_tasks, plan_trees
from tfmtl.typing import SHARED, MixesExperts, Mixture, Streams

Merge: TypeAlias = Literal["add", "concat"]


@register_layer
class HierarchicalTaskTree(keras.layers.Layer):
    """Lets tasks share along every facet that they have in common, a tree of switchers for each facet.

    The tasks are the combinations of the facets' values, for example behaviours x user groups. A switcher is any trunk
    that reads one vector and gives one to each of its branches:

    ```
    u_f     = Root(x_shared)_f                    f: a facet
    p_{f,v} = Facet_f(u_f)_v                      v: a value of f; one switcher a tree
    r_{f,t} = Leaf_{f,v}(p_{f,v})_t               t: the tasks whose value of f is v; one switcher a value
    y_t     = sum_f r_{f,t}                       or side by side
    ```

    So a task learns with the tasks of its behaviour in one tree and with those of its group in the other: what a small
    group cannot learn from its own rows it shares with every group's rows of the same behaviour.

    Args:
        facets: `{facet: its values}`, one facet or more, such as `TaskGrid.facets`. A task is named by its values in
            the order of the facets, joined by `_`.
        root: the switcher between facets. Without one, every tree reads the shared stream.
        facet: the switcher that starts a tree.
        leaf: the switcher that splits by the other facets. With a single facet there is none.
        merge: how a task's leaves become one stream: `"add"` (the authors' code) or `"concat"`.
        trees: the facets that start a tree, all by default. One of them makes an H-MTL.
        tree_mode: with three facets or more, whether a leaf switcher splits by the rest at once (`"facet_then_rest"`)
            or by one facet after the other (`"full_order"`, in the order of `facets`).
        name: of the layer.

    The switchers given are models for the nodes: each node gets a new layer of the same settings, with initial values
    of its own, also where an initializer has a seed, and with the tree's `dtype`.

    Input shape:
        `{task: ..., "shared": (B, D)}`, exactly the tasks of the facets. The tasks' own streams are not read: where they
        differ from the shared one, `tfmtl.build` sets them beside the leaves (`JoinStreams`).

    Output shape:
        `{task: (B, H)}`; with `merge="concat"` `H` is the sum over the trees.

    Raises:
        ValueError: no facet, no value, names that repeat or collide; a switcher that is missing, has nothing to split,
            or does not give its branches alone; unknown trees or options; streams that are not the tasks'.

    Example:

    >>> import keras
    >>> from tfmtl.layers import CGCLayer
    >>> from tfmtl.stages import PLE, HierarchicalTaskTree
    >>> tree = HierarchicalTaskTree(
    ...     {"behavior": ("finish", "skip"), "group": ("new", "active")},
    ...     root=CGCLayer(64, num_task_experts=0, num_shared_experts=1, update_shared=False),
    ...     facet=PLE((32, 32)),
    ...     leaf=CGCLayer(32, num_task_experts=1, num_shared_experts=1, update_shared=False),
    ... )
    >>> [node.name for node in tree.nodes]
    ['root', 'behavior', 'behavior_finish', 'behavior_skip', 'group', 'group_new', 'group_active']
    >>> x = keras.random.normal((8, 100))
    >>> tuple(tree(dict.fromkeys([*tree.tasks, "shared"], x))["skip_new"].shape)
    (8, 32)

    Reference:
        Liu et al., "Multi-Faceted Hierarchical Multi-Task Learning for Recommender Systems", CIKM 2022, arXiv:2110.13365.
        The paper draws the root; the authors' published code has none (`root=None`), adds the leaves, and has two
        facets. Three and more, with `"facet_then_rest"`, are our reading. Dense layers between the levels, which their
        code offers and their tuned model lacks, are to be had as experts with several layers.
    """

    reads_own = False
    """No switcher reads a task's own stream."""

    reads_shared = True
    """The root, or each tree, reads the shared stream."""

    def __init__(
        self,
        facets: Facets,
        *,
        root: keras.layers.Layer | None = None,
        facet: keras.layers.Layer | None = None,
        leaf: keras.layers.Layer | None = None,
        merge: Merge = "add",
        trees: Sequence[str] | None = None,
        tree_mode: TreeMode = "facet_then_rest",
        name: str = "trunk",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        self.facets = check_facets(facets)
        self.trees = tuple(self.facets) if trees is None else tuple(trees)
        self.merge = merge
        self.tree_mode = tree_mode
        self._check_options()
        given = {"root": root, "facet": facet, "leaf": leaf}
        _check_switchers(given, len(self.facets))
        self.nodes = plan_trees(self.facets, self.trees, tree_mode, has_root=root is not None)
        models = [root, facet, leaf]
        self.switchers = {
            node.name: fresh_layer(models[min(node.level, 2)], node.name, salt=name, dtype=self.dtype_policy)
            for node in self.nodes
        }
        # As text: Keras wraps dicts that a layer holds, and tf_keras' wrappers do not go into a config.
        self._given = json.dumps({level: layer and keras.layers.serialize(layer) for level, layer in given.items()})

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the leaves."""
        return leaf_tasks(self.facets)

    def _check_options(self) -> None:
        check_option("merge", self.merge, Merge)
        check_option("tree_mode", self.tree_mode, TreeMode)
        if not self.trees or len(set(self.trees)) != len(self.trees) or not set(self.trees) <= set(self.facets):
            raise ValueError(f"`trees` must be distinct facets of {list(self.facets)}. Received: trees={self.trees}")

    def build(self, input_shape: Mapping[str, Any]) -> None:
        found = set(task_names(input_shape, needs_shared=True))
        missing, unknown = sorted(set(self.tasks) - found), sorted(found - set(self.tasks))
        if missing or unknown:
            raise ValueError(
                f"The streams must be those of the tree's tasks. They lack {missing} and hold unknown {unknown}."
            )
        self._walk(input_shape[SHARED], self._build_switcher)
        self.built = True

    def _build_switcher(self, node: TreeNode, shapes: Mapping[str, Any]) -> Mapping[str, Any]:
        switcher = self.switchers[node.name]
        switcher.build(shapes)
        given = switcher.compute_output_shape(shapes)
        if set(given) != set(node.branches):
            raise ValueError(
                f"Switcher {node.name!r} must give the branches {list(node.branches)} and nothing else. "
                f"Received: {sorted(given)}. A `CGCLayer` needs update_shared=False here."
            )
        return given

    def call(self, streams: Streams, training: bool | None = None) -> Streams:
        check_streams(self, streams)
        # `training` reaches the switchers by way of Keras.
        given = self._walk(streams[SHARED], lambda node, read: self.switchers[node.name](read))  # u, p and r
        return {task: self._merged(leaves) for task, leaves in self._leaves(given).items()}

    def _walk(self, shared: Any, give: Callable[[TreeNode, dict[str, Any]], Mapping[str, Any]]) -> dict[str, Any]:
        """`{node: {branch: what the node gives it}}`, from the root to the leaves.

        Args:
            shared: what the root, or each tree, reads: a stream or its shape.
            give: gives a node's branches, for what the node reads: the same for each branch and `"shared"`.
        """
        given: dict[str, Any] = {}
        for node in self.nodes:
            x = shared
            if node.reads is not None:
                parent, branch = node.reads
                x = given[parent][branch]
            given[node.name] = give(node, dict.fromkeys((*node.branches, SHARED), x))
        return given

    def _leaves(self, given: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Any]]:
        """Each task's leaves, one for each tree."""
        last = [node for node in self.nodes if node.is_last]
        return {task: [given[node.name][task] for node in last if task in node.branches] for task in self.tasks}

    def _merged(self, leaves: list[Any]) -> Any:
        if self.merge == "concat" and len(leaves) > 1:
            return ops.concatenate(leaves, axis=-1)
        total = leaves[0]
        for leaf in leaves[1:]:
            total = total + leaf
        return total

    def gates(self, streams: Streams) -> dict[str, Any]:
        """The mixing weights of every node whose switcher is `Gated`, as that switcher gives them."""
        found = {}

        def give(node: TreeNode, read: Streams) -> Streams:
            switcher = self.switchers[node.name]
            if isinstance(switcher, Gated):
                found[node.name] = switcher.gates(read)
            return switcher(read)

        self._walk(streams[SHARED], give)
        return found

    def mixtures(self, streams: Streams) -> list[Mixture]:
        """What experts and gates of every node make of it, where the node has some (`tfmtl.typing.MixesExperts`)."""
        found: list[Mixture] = []

        def give(node: TreeNode, read: Streams) -> Streams:
            switcher = self.switchers[node.name]
            if isinstance(switcher, MixesExperts):
                found.extend(each._replace(name=f"{self.name}/{each.name}") for each in switcher.mixtures(read))
            return switcher(read)

        self._walk(streams[SHARED], give)
        return found

    def compute_output_shape(self, input_shape: Mapping[str, Any]) -> dict[str, tuple[int | None, ...]]:
        check_streams(self, input_shape)
        shared = input_shape[SHARED]
        given = self._walk(shared, lambda node, read: self.switchers[node.name].compute_output_shape(read))
        widths = {task: [shape[-1] for shape in leaves] for task, leaves in self._leaves(given).items()}
        return {task: (shared[0], sum(each) if self.merge == "concat" else each[0]) for task, each in widths.items()}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            **json.loads(self._given),
            "facets": {name: list(values) for name, values in self.facets.items()},
            "merge": self.merge,
            "trees": list(self.trees),
            "tree_mode": self.tree_mode,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "HierarchicalTaskTree":
        given = {
            level: config[level] and keras.layers.deserialize(config[level]) for level in ("root", "facet", "leaf")
        }
        return cls(**{**config, **given})


def _check_switchers(given: Mapping[str, Any], num_facets: int) -> None:
    for level, layer in given.items():
        if layer is not None and not isinstance(layer, keras.layers.Layer):
            raise ValueError(f"`{level}` must be a layer, a trunk. Received: {level}={layer!r}")
    if given["facet"] is None:
        raise ValueError("`facet` is missing: the switcher that starts a tree, such as `PLE((256, 128))`.")
    if (given["leaf"] is None) != (num_facets == 1):
        raise ValueError(
            "`leaf` splits what `facet` gives by the other facets: it is needed with two facets or more, and only then. "
            f"Received: leaf={given['leaf']!r} with {num_facets} facets"
        )
