"""Pictures of what models did; each function returns a matplotlib `Figure` (extra `plots`)."""

from tfmtl.analysis.plots.calibration import plot_calibration
from tfmtl.analysis.plots.conflicts import plot_conflicts
from tfmtl.analysis.plots.curves import plot_curves, plot_learning
from tfmtl.analysis.plots.gains import plot_gains
from tfmtl.analysis.plots.gates import plot_gates
from tfmtl.analysis.plots.seesaw import plot_seesaw

__all__ = [
    "plot_calibration",
    "plot_conflicts",
    "plot_curves",
    "plot_gains",
    "plot_gates",
    "plot_learning",
    "plot_seesaw",
]
