"""The names of a prediction set's axes, and how arrays about them are brought into its order."""

from typing import Any

import numpy as np

from stacking._checks import check_names
from stacking._typing import StringArray
from stacking.named_arrays import AxisNames, align_by_name, find_names


class NamedAxes:
    """Something whose rows, labels and models have names."""

    ids: StringArray
    models: tuple[str, ...]
    labels: tuple[str, ...]

    def align(self, **arguments: Any) -> tuple[Any, ...]:
        """
        Bring arrays about the set's samples, labels or models into its order.

        Parameters
        ----------
        **arguments : array-like, data frame, series, mapping or None
            By the names that they have as arguments: ``folds``, ``y_true`` ….

        Returns
        -------
        tuple
            The arguments in the order given, without names.

        Raises
        ------
        ValueError
            If one has names that are not the set's; one without names goes by position.
        """
        if all(value is None or type(value) is np.ndarray for value in arguments.values()):
            return tuple(arguments.values())
        return align_by_name({axis: ("the predictions", names) for axis, names in self._axes().items()}, **arguments)

    def _axes(self) -> dict[str, AxisNames]:
        """Give the names along each axis as arguments are matched with them."""
        return {
            "row": AxisNames.of(self.ids.tolist(), "sample"),
            "label": AxisNames.of(self.labels, "label"),
            "model": AxisNames.of(self.models, "model"),
        }

    def align_masks(self, **selections: Any) -> tuple[Any, ...]:
        """
        Bring masks that carry names into the set's order.

        Parameters
        ----------
        **selections : array-like, slice or None
            ``samples``, ``models`` or ``labels``; positions and names are no masks and stay as they are.

        Returns
        -------
        tuple
            The selections in the order given.
        """
        kinds = ("bool", "boolean", "bool[pyarrow]")
        masks = {key: value for key, value in selections.items() if str(getattr(value, "dtype", "")) in kinds}
        aligned = dict(zip(masks, self.align(**masks), strict=True))
        return tuple(aligned.get(key, value) for key, value in selections.items())

    def _align_and_name(self, **arguments: Any) -> tuple[Any, ...]:
        """Bring arguments into the set's order; where it has no names of its own it takes theirs."""
        aligned = self.align(**arguments)
        if all(one is other for one, other in zip(aligned, arguments.values(), strict=True)):
            return aligned
        own = self._axes()
        found = {axis: find_names(axis, arguments) if own[axis].is_made_up else None for axis in own}
        if found["row"] is not None:
            self.ids = check_names(found["row"], len(self.ids), name="ids")
        if found["label"] is not None:
            self.labels = tuple(check_names(found["label"], len(self.labels), name="labels").tolist())
        if found["model"] is not None:
            self.models = tuple(check_names(found["model"], len(self.models), name="models").tolist())
        return aligned
