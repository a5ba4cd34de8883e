"""The weights of an optimizer, found again by what a step hands over."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tfmtl.keras_host import raw


class VariableIndex:
    """The variables that an optimizer was built for, in order, and the place of each among them.

    A step under replicas hands over the copy of a variable that lies on one device: it has the place of the whole. This is
    an object of its own because Keras would count the variables of a list on an optimizer as the optimizer's.

    Args:
        variables: of the model; Keras's or TensorFlow's.
        strategy: `tf.distribute.Strategy` under which they were made.
    """

    def __init__(self, variables: Sequence[Any], strategy: tf.distribute.Strategy):
        self.variables = list(variables)
        self._places = {}
        for place, variable in enumerate(map(raw, self.variables)):
            for copy in (variable, *strategy.experimental_local_results(variable)):
                self._places[copy.ref()] = place

    def place_of(self, variable: Any) -> int:
        """The place of `variable`, or of what it is a copy of. ValueError where the optimizer was not built for it."""
        place = self._places.get(raw(variable).ref())
        if place is None:
            raise ValueError(
                f"The optimizer was built for other variables: {[v.name for v in self.variables]}. "
                f"Received: variable={variable.name}"
            )
        return place
