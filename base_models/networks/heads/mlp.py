"""A perceptron with hidden layers on the pooled features, as student teams of the contest put on frozen networks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from base_models.networks.heads.body_output import BodyOutput, start_linear


class MlpHead(nn.Module):
    """Pass the pooled features through hidden layers, each linear → ReLU → batch normalisation.

    Parameters
    ----------
    n_features : int
        Pooled features.
    n_labels : int
        Labels.
    hidden : sequence of int
        Widths of the hidden layers.
    """

    needs = "pooled"

    def __init__(self, n_features: int, n_labels: int, hidden: Sequence[int] = (1024, 512, 256)) -> None:
        super().__init__()
        self.out_features = n_labels
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [nn.Linear(n_features, width), nn.ReLU(), nn.BatchNorm1d(width)]
            n_features = width
        self.hidden = nn.Sequential(*layers)
        self.classifier = nn.Linear(n_features, n_labels)

    def forward(self, output: BodyOutput) -> Tensor:
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
        return self.classifier(self.hidden(output.pooled))

    def start_at(self, log_odds: Tensor) -> None:
        """Make the untrained head answer base rates.

        Parameters
        ----------
        log_odds : Tensor
            Shape (n_labels,).
        """
        start_linear(self.classifier, log_odds)
