"""Layers, tensors in and tensors out, for any Keras model; `tfmtl.stages` composes them into whole ones."""

from tfmtl.layers.activation_unit import ActivationUnit
from tfmtl.layers.adatt_layer import AdaTTLayer
from tfmtl.layers.cgc_layer import CGCLayer
from tfmtl.layers.chain_calibrator import ChainCalibrator
from tfmtl.layers.class_scaling import ClassScaling
from tfmtl.layers.conditional_rates import ConditionalRates
from tfmtl.layers.conditional_transformer import ConditionalTransformer
from tfmtl.layers.crosses import Crosses
from tfmtl.layers.dice import Dice
from tfmtl.layers.dselect_k_gate import DSelectKGate
from tfmtl.layers.epnet import EPNet
from tfmtl.layers.experts import Experts
from tfmtl.layers.factorization_machine import FactorizationMachine
from tfmtl.layers.feature_embedding import FeatureEmbedding
from tfmtl.layers.feature_gate import FeatureGate
from tfmtl.layers.field_interactions import FieldInteractions
from tfmtl.layers.gate import Gate
from tfmtl.layers.gate_nu import GateNU
from tfmtl.layers.global_batch_normalization import GlobalBatchNormalization
from tfmtl.layers.group_routing import GroupRouting
from tfmtl.layers.hyper_sequence_extractor import HyperSequenceExtractor
from tfmtl.layers.information_transfer import InformationTransfer
from tfmtl.layers.isotonic_curve import IsotonicCurve
from tfmtl.layers.join_streams import JoinStreams
from tfmtl.layers.mlp import MLP
from tfmtl.layers.norm_hypernetwork import NormHypernetwork
from tfmtl.layers.normalized_experts import NormalizedExperts
from tfmtl.layers.partitioned_normalization import PartitionedNormalization
from tfmtl.layers.platt_scaling import PlattScaling
from tfmtl.layers.self_attention import SelfAttention
from tfmtl.layers.self_gate import SelfGate
from tfmtl.layers.star_dense import StarDense
from tfmtl.layers.stem_embedding import STEMEmbedding
from tfmtl.layers.subnetwork_routing import SubnetworkRouting
from tfmtl.layers.task_senet import TaskSENet
from tfmtl.layers.task_tower import TaskTower

__all__ = [
    "ActivationUnit",
    "AdaTTLayer",
    "CGCLayer",
    "ChainCalibrator",
    "ClassScaling",
    "ConditionalRates",
    "ConditionalTransformer",
    "Crosses",
    "DSelectKGate",
    "Dice",
    "EPNet",
    "Experts",
    "FactorizationMachine",
    "FeatureEmbedding",
    "FeatureGate",
    "FieldInteractions",
    "Gate",
    "GateNU",
    "GlobalBatchNormalization",
    "GroupRouting",
    "HyperSequenceExtractor",
    "InformationTransfer",
    "IsotonicCurve",
    "JoinStreams",
    "MLP",
    "NormHypernetwork",
    "NormalizedExperts",
    "PartitionedNormalization",
    "PlattScaling",
    "STEMEmbedding",
    "SelfAttention",
    "SelfGate",
    "StarDense",
    "SubnetworkRouting",
    "TaskSENet",
    "TaskTower",
]
