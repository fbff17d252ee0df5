"""A linear head with a second output on an inner layer, which trains the early layers directly.

Inception networks have such an output at 299 pixels only; this one pools an inner feature map of any network over all
its places, so that every size works. The auxiliary output adds ``AUXILIARY_WEIGHT`` of its loss and answers nothing.

References
----------
C. Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, section 5: the weight .3.
"""

from __future__ import annotations

from torch import Tensor, nn

from base_models.networks.heads.body_output import BodyOutput, start_linear

AUXILIARY_WEIGHT = 0.3


class AuxiliaryHead(nn.Module):
    """Answer from the pooled features; learn from an inner layer as well.

    Parameters
    ----------
    n_features : int
        Pooled features.
    n_labels : int
        Labels.
    n_inner : int
        Pooled features of the inner layer.
    """

    needs = "inner"

    def __init__(self, n_features: int, n_labels: int, n_inner: int) -> None:
        super().__init__()
        self.out_features = n_labels
        self.main = nn.Linear(n_features, n_labels)
        self.auxiliary = nn.Linear(n_inner, n_labels)
        self.auxiliary_logits: Tensor | None = None

    def forward(self, output: BodyOutput) -> Tensor:
        """Compute the logits; in training the auxiliary ones are kept in ``auxiliary_logits`` until they are taken.

        Parameters
        ----------
        output : BodyOutput
            ``pooled`` and ``inner`` are used.

        Returns
        -------
        Tensor
            Shape (n_rows, n_labels).
        """
        self.auxiliary_logits = self.auxiliary(output.inner) if self.training else None
        return self.main(output.pooled)

    def start_at(self, log_odds: Tensor) -> None:
        """Make both untrained outputs answer base rates.

        Parameters
        ----------
        log_odds : Tensor
            Shape (n_labels,).
        """
        start_linear(self.main, log_odds)
        start_linear(self.auxiliary, log_odds)
