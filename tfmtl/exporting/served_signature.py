"""How rows are asked through a signature of an exported model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from tfmtl.exporting.example_rows import RawRows
from tfmtl.exporting.graph.traced_function import Tensors
from tfmtl.typing import Predictions


@dataclass(frozen=True)
class ServedSignature:
    """One form in which a server takes requests. It holds no graph, so that it may outlive the one that was written.

    Args:
        inputs_for: the inputs that ask for some rows.
        rows_meant: the rows that those inputs stand for, where they are not the rows themselves.
        read_predictions: predictions by task from the outputs.
        defaults: what stands for inputs that a request leaves out.
    """

    inputs_for: Callable[[RawRows], Tensors]
    rows_meant: Callable[[RawRows], RawRows] = lambda rows: rows
    read_predictions: Callable[[Tensors], Predictions] = lambda outputs: outputs
    defaults: Mapping[str, np.ndarray] = field(default_factory=dict)
