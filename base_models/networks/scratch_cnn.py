"""A small convolutional network to train from scratch: the baseline that transfer learning is compared with."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

SCRATCH_CNN = "scratch-cnn"
"""Its name in a recipe, beside the names of timm."""

WIDTHS = (32, 64, 128, 256)


class ScratchCnn(nn.Module):
    """Four blocks of convolution → batch normalisation → ReLU → pooling by two, then an average over the places.

    It offers what heads and explanations use of timm's networks: ``forward_features``, ``forward_head``,
    ``num_features``, ``feature_info`` and ``group_matcher``.
    """

    def __init__(self) -> None:
        super().__init__()
        blocks, n_channels = [], 3
        for width in WIDTHS:
            convolution = nn.Conv2d(n_channels, width, 3, padding=1, bias=False)
            blocks.append(nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.MaxPool2d(2)))
            n_channels = width
        self.blocks = nn.Sequential(*blocks)
        self.num_features = n_channels
        self.feature_info: list[dict[str, Any]] = [
            {"num_chs": width, "reduction": 2 ** (i + 1), "module": f"blocks.{i}"} for i, width in enumerate(WIDTHS)
        ]
        self.pretrained_cfg: dict[str, Any] = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """Say which layer a parameter belongs to.

        Parameters
        ----------
        coarse : bool
            For timm's signature; there is one way to group.

        Returns
        -------
        dict of str to str
            The pattern of the blocks' names.
        """
        return {"blocks": r"^blocks\.(\d+)"}

    def forward_features(self, photos: Tensor) -> Tensor:
        """Compute the last feature map.

        Parameters
        ----------
        photos : Tensor
            Shape (n_rows, 3, size, size), size at least 16.

        Returns
        -------
        Tensor
            Shape (n_rows, 256, size // 16, size // 16).
        """
        return self.blocks(photos)

    def forward_head(self, feature_map: Tensor, pre_logits: bool = False) -> Tensor:
        """Average the feature map over its places.

        Parameters
        ----------
        feature_map : Tensor
            As ``forward_features`` gives it.
        pre_logits : bool
            For timm's signature; there is no classifier.

        Returns
        -------
        Tensor
            Shape (n_rows, 256).
        """
        return feature_map.mean(dim=(2, 3))

    def forward(self, photos: Tensor) -> Tensor:
        """Compute the pooled features.

        Parameters
        ----------
        photos : Tensor
            Shape (n_rows, 3, size, size).

        Returns
        -------
        Tensor
            Shape (n_rows, 256).
        """
        return self.forward_head(self.forward_features(photos))
