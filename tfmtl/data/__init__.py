"""From files to what a model reads."""

from tfmtl.data.adapting import adapt, extend
from tfmtl.data.preprocessing import Preprocessor
from tfmtl.data.reading import read

__all__ = ["Preprocessor", "adapt", "extend", "read"]
