"""What ruins a blend, found before the fit: the checks behind `labelstack check`."""

from stacking.diagnosis.checkup import check_predictions
from stacking.diagnosis.findings import CheckReport, Finding
from stacking.diagnosis.quick import quick_findings

__all__ = ["CheckReport", "Finding", "check_predictions", "quick_findings"]
