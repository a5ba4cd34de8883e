"""What looks into experts and gates, batch by batch."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np

from tfmtl.analysis.doctor.mixture_statistics import PEAKED, GateStatistics, MixtureStatistics
from tfmtl.keras_host import inputs_by_name, keras, named_input
from tfmtl.typing import MixesExperts, Mixture


class MixtureProbe:
    """Reads what the layers of a model do that keep `MixesExperts`: those that a functional model calls once, on a dict.

    Args:
        model: any.
    """

    def __init__(self, model: keras.Model):
        inputs = list(inputs_by_name(model).values())
        self._layers: list[tuple[Any, keras.Model]] = []
        for layer in model.layers if inputs else ():
            read = named_input(layer) if isinstance(layer, MixesExperts) else None
            if read is not None:
                self._layers.append((layer, keras.Model(inputs, read)))
        self._sums: dict[str, _Sums] = {}

    def add(self, inputs: dict[str, Any]) -> None:
        """Adds a batch of what the model reads."""
        for mixture in self._mixtures(inputs):
            self._sums.setdefault(mixture.name, _Sums(mixture)).add(mixture)

    def _mixtures(self, inputs: dict[str, Any]) -> Iterator[Mixture]:
        return chain.from_iterable(layer.mixtures(probe(inputs, training=False)) for layer, probe in self._layers)

    def statistics(self) -> list[MixtureStatistics]:
        """What was seen of each level."""
        return [sums.statistics() for sums in self._sums.values()]


class _Sums:
    """Running sums of one level."""

    def __init__(self, mixture: Mixture):
        self.name = mixture.name
        self.experts = [(owner, i) for owner, experts in mixture.experts.items() for i in range(experts.shape[1])]
        self.counts = {owner: experts.shape[1] for owner, experts in mixture.experts.items()}
        units = next(iter(mixture.experts.values())).shape[2]
        self.rows = 0
        self.total = np.zeros((len(self.experts), units))
        self.inner = np.zeros((len(self.experts), len(self.experts)))
        self.gates = {
            reader: _GateSums([(owner, i) for owner in mixture.candidates[reader] for i in range(self.counts[owner])])
            for reader in mixture.gates
        }

    def add(self, mixture: Mixture) -> None:
        outputs = np.concatenate([np.asarray(experts, "float64") for experts in mixture.experts.values()], axis=1)
        self.rows += len(outputs)
        self.total += outputs.sum(0)
        self.inner += np.einsum("beu,bfu->ef", outputs, outputs, optimize=True)
        for reader, weights in mixture.gates.items():
            self.gates[reader].add(np.asarray(weights, "float64"))

    def statistics(self) -> MixtureStatistics:
        inner, mean = self.inner / self.rows, self.total / self.rows
        squares = np.diagonal(inner)
        spread = np.sqrt(np.maximum(squares - np.square(mean).sum(1), 0.0))
        gates = {reader: sums.statistics() for reader, sums in self.gates.items()}
        return MixtureStatistics(self.name, self.experts, np.sqrt(squares), spread, inner, gates)


class _GateSums:
    """Running sums of one gate."""

    def __init__(self, experts: list[tuple[str, int]]):
        self.experts = experts
        self.rows = self.peaked = 0
        self.entropy = 0.0
        self.total, self.chosen, self.most = (np.zeros(len(experts)) for _ in range(3))
        self.least = np.ones(len(experts))

    def add(self, weights: np.ndarray) -> None:
        self.rows += len(weights)
        self.total += weights.sum(0)
        self.most, self.least = np.maximum(self.most, weights.max(0)), np.minimum(self.least, weights.min(0))
        peaked = weights.max(1) > PEAKED
        self.peaked += int(peaked.sum())
        self.chosen += np.bincount(weights[peaked].argmax(1), minlength=len(self.experts))
        self.entropy -= float((weights * np.log(np.maximum(weights, 1e-30))).sum()) / np.log(len(self.experts))

    def statistics(self) -> GateStatistics:
        return GateStatistics(
            experts=self.experts,
            mean=self.total / self.rows,
            most=self.most,
            least=self.least,
            peaked=self.peaked / self.rows,
            chosen=self.chosen,
            entropy=self.entropy / self.rows,
        )
