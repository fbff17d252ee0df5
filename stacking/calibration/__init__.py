"""Calibration: maps from scores to probabilities that mean what they say where they are used."""

from stacking.calibration.calibrator import Calibrator
from stacking.calibration.isotonic import IsotonicCalibration
from stacking.calibration.platt import PlattScaling
from stacking.calibration.prior_shift import PriorShift
from stacking.calibration.temperature import TemperatureScaling

__all__ = ["Calibrator", "IsotonicCalibration", "PlattScaling", "PriorShift", "TemperatureScaling"]
