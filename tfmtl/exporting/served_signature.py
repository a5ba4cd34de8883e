"""A signature of an exported model, and how rows are asked through it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tfmtl.exporting.example_rows import RawRows
from tfmtl.exporting.graph.traced_function import Tensors
from tfmtl.typing import Predictions


@dataclass(frozen=True)
class ServedSignature:
    """One form in which a server takes requests.

    Args:
        function: what answers: a concrete function, or a `tf.function` with an input signature.
        inputs_for: the inputs that ask for some rows.
        rows_meant: the rows that those inputs stand for, where they are not the rows themselves.
        read_predictions: predictions by task from the outputs.
    """

    function: Any
    inputs_for: Callable[[RawRows], Tensors]
    rows_meant: Callable[[RawRows], RawRows] = lambda rows: rows
    read_predictions: Callable[[Tensors], Predictions] = lambda outputs: outputs

    @property
    def concrete(self) -> Any:
        """The signature as a concrete function."""
        return self.function if hasattr(self.function, "captured_inputs") else self.function.get_concrete_function()
