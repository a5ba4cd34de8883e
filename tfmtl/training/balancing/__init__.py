"""Balancing the tasks of a model through `fit`: by weights from their losses, or from their gradients."""

from tfmtl.training.balancing.aligned_mtl import AlignedMTL
from tfmtl.training.balancing.balanced import balanced
from tfmtl.training.balancing.balancer import Balancer, Signals, State
from tfmtl.training.balancing.cagrad import CAGrad
from tfmtl.training.balancing.db_mtl import DBMTL
from tfmtl.training.balancing.dwa import DWA
from tfmtl.training.balancing.famo import FAMO
from tfmtl.training.balancing.grad_norm import GradNorm
from tfmtl.training.balancing.gramian_balancer import GramianBalancer
from tfmtl.training.balancing.imtl_g import IMTLG
from tfmtl.training.balancing.meta_balance import MetaBalance
from tfmtl.training.balancing.mgda import MGDA
from tfmtl.training.balancing.nash_mtl import NashMTL
from tfmtl.training.balancing.pcgrad import PCGrad
from tfmtl.training.balancing.rlw import RLW
from tfmtl.training.balancing.static import Static
from tfmtl.training.balancing.uncertainty_weighting import UncertaintyWeighting
from tfmtl.training.balancing.up_grad import UPGrad

__all__ = [
    "AlignedMTL",
    "Balancer",
    "CAGrad",
    "DBMTL",
    "DWA",
    "FAMO",
    "GradNorm",
    "GramianBalancer",
    "IMTLG",
    "MGDA",
    "MetaBalance",
    "NashMTL",
    "PCGrad",
    "RLW",
    "Signals",
    "State",
    "Static",
    "UPGrad",
    "UncertaintyWeighting",
    "balanced",
]
