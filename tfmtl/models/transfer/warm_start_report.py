"""What a warm start took over, and what not."""

from dataclasses import dataclass, field

from tfmtl.models.transfer.carrying import Carried


@dataclass
class WarmStartReport:
    """The weights of both models by what they mean, such as `trunk.experts[click].kernels[0]` or `table[city]`.

    Args:
        carried: taken over as a whole.
        partly: `{name: share}`, weights that have entries of their own beside those that were taken over: new ids, which
            start from the row of unknown ones, new inputs, which start at 0, and new outputs, which start as they were made.
        fresh: without a counterpart in `source`: they start as they were made.
        left: weights of `source`, or parts of them, that `model` has no place for.
    """

    carried: list[str] = field(default_factory=list)
    partly: dict[str, float] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def note(self, name: str, carried: Carried) -> None:
        """Sorts a weight of `model` in."""
        if carried.value is None:
            self.fresh.append(name)
        elif carried.share < 1:
            self.partly[name] = carried.share
        else:
            self.carried.append(name)
        if carried.left:
            self.left.append(f"part of {name}")

    def __str__(self) -> str:
        lines = [f"{len(self.carried)} weights were carried over."]
        for what, names in (
            ("Partly", [f"{name} ({share:.0%})" for name, share in self.partly.items()]),
            ("Started fresh", self.fresh),
            ("Left behind", self.left),
        ):
            if names:
                lines.append(f"{what}: {', '.join(names)}.")
        return "\n".join(lines)
