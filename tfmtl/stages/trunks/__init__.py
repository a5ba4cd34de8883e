"""From streams to streams: what tasks share, and how."""

from tfmtl.stages.trunks.adatt import AdaTT
from tfmtl.stages.trunks.asymmetric_sharing import AsymmetricSharing
from tfmtl.stages.trunks.cgc import CGC
from tfmtl.stages.trunks.cross_stitch import CrossStitch
from tfmtl.stages.trunks.customized_sharing import CustomizedSharing
from tfmtl.stages.trunks.dselect_k import DSelectK
from tfmtl.stages.trunks.hierarchical_task_tree import HierarchicalTaskTree
from tfmtl.stages.trunks.home import HoME
from tfmtl.stages.trunks.ml_mmoe import MLMMoE
from tfmtl.stages.trunks.mmoe import MMoE
from tfmtl.stages.trunks.omoe import OMoE
from tfmtl.stages.trunks.pass_through import PassThrough
from tfmtl.stages.trunks.ple import PLE
from tfmtl.stages.trunks.shared_bottom import SharedBottom
from tfmtl.stages.trunks.single_task import SingleTask
from tfmtl.stages.trunks.sluice import Sluice
from tfmtl.stages.trunks.snr import SNR

__all__ = [
    "AdaTT",
    "AsymmetricSharing",
    "CGC",
    "CrossStitch",
    "CustomizedSharing",
    "DSelectK",
    "HierarchicalTaskTree",
    "HoME",
    "MLMMoE",
    "MMoE",
    "OMoE",
    "PLE",
    "PassThrough",
    "SNR",
    "SharedBottom",
    "SingleTask",
    "Sluice",
]
