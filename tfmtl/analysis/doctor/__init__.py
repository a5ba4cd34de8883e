"""The doctor: what goes wrong when tasks are learned together, and what to do about it."""

from tfmtl.analysis.doctor.checkup import Checkup
from tfmtl.analysis.doctor.diagnose import diagnose
from tfmtl.analysis.doctor.diagnosis import Diagnosis
from tfmtl.analysis.doctor.finding import FAULTS, Finding, Severity

__all__ = ["FAULTS", "Checkup", "Diagnosis", "Finding", "Severity", "diagnose"]
