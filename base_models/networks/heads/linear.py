"""The default head: one linear layer on the pooled features."""

from __future__ import annotations

from torch import Tensor, nn

from base_models.networks.heads.body_output import BodyOutput, start_linear


class LinearHead(nn.Linear):
    """Weigh the pooled features, label by label."""

    needs = "pooled"

    def forward(self, output: BodyOutput) -> Tensor:  # type: ignore[override]
        """Compute the logits.

        Parameters
        ----------
        output : BodyOutput
            ``pooled`` is used.

        Returns
        -------
        Tensor
            Shape (n_rows, n_labels).
        """
        return super().forward(output.pooled)

    def start_at(self, log_odds: Tensor) -> None:
        """Make the untrained head answer base rates.

        Parameters
        ----------
        log_odds : Tensor
            Shape (n_labels,).
        """
        start_linear(self, log_odds)
