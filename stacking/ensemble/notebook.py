"""An ensemble in a notebook."""

from __future__ import annotations

from typing import Any

from stacking.report.notebook import MOST_ROWS, Card, first_names, render_card
from stacking.report.sections import Cell, Table
from stacking.report.writing import write_count


class ShownEnsemble:
    """An ensemble that a notebook shows with what was chosen; before the fit, as scikit-learn shows its estimators."""

    labels_: tuple[str, ...]
    models_: tuple[str, ...]
    report_: Any

    def _repr_html_(self) -> str:
        """Show what was chosen and for which models and labels."""
        if not hasattr(self, "report_"):
            earlier: Any = super()
            return str(earlier._repr_html_())
        models = self.models_[:MOST_ROWS]
        rows: list[list[Cell]] = [[name] for name in models]
        more = len(self.models_) - len(models)
        lines = [f"Labels: {first_names(self.labels_)}.", *str(self.report_).splitlines()]
        note = (
            "Next: labelstack.predict(ensemble, scores), labelstack.evaluate(ensemble, scores), ensemble.save(folder)"
        )
        table = Table(["model"], rows, f"{more} more models." if more else "")
        title = f"Ensemble of {write_count(len(self.models_), 'model')} for {write_count(len(self.labels_), 'label')}"
        return render_card(Card(title, lines, table, note))

    def _repr_mimebundle_(self, **options: Any) -> dict[str, str]:
        """Show the same in place of the diagram that scikit-learn draws of estimators."""
        if not hasattr(self, "report_"):
            earlier: Any = super()
            bundle: dict[str, str] = earlier._repr_mimebundle_(**options)
            return bundle
        return {"text/plain": repr(self), "text/html": self._repr_html_()}
