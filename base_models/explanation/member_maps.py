"""Explain a member of a run: the maps of the networks that score new photos are averaged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from base_models.explanation.attention_maps import attention_maps, has_attention
from base_models.explanation.grad_cam import grad_cam
from base_models.explanation.layers import explained_layer
from base_models.networks.network import MultilabelNetwork
from base_models.networks.per_label import LabelwiseNetwork
from base_models.photos.tensors import PhotoTensors
from base_models.runs.inference import MemberNetworks
from base_models.runs.stores import mean_over_networks
from base_models.training.scoring import score_photos, split_evenly

Method: TypeAlias = Literal["auto", "grad-cam", "attention"]
METHODS: tuple[Method, ...] = ("auto", "grad-cam", "attention")
BATCH = 32


class MemberExplainer:
    """Score photos with a member, and say which places of them speak for a label.

    Parameters
    ----------
    member : MemberNetworks
        As ``load_member`` returned it.
    method : {"auto", "grad-cam", "attention"}
        How; ``auto`` takes the attention where the member has that head, and Grad-CAM elsewhere.
    device : str
        Where the networks are.

    Attributes
    ----------
    method : str
        ``"grad-cam"`` or ``"attention"``.
    layer : str
        Name of the explained layer; empty for attention, which is that of the last feature map.
    size : int
        Side of the member's photos in pixels.

    Raises
    ------
    ValueError
        If the method is unknown, or the member lacks what it needs.
    """

    def __init__(self, member: MemberNetworks, method: Method = "auto", device: str = "cpu") -> None:
        if method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}: got {method!r}.")
        attends = all(has_attention(network) for network in member.networks)
        if method == "attention" and not attends:
            raise ValueError(
                f"member {member.name!r} must have the attention head for attention maps: its head is "
                f"{member.record.head!r}; use grad-cam."
            )
        self.member = member
        self.device = device
        self.size = member.record.size
        self.method = "attention" if attends and method != "grad-cam" else "grad-cam"
        self.layer = "" if self.method == "attention" else self._choose_layer()

    def _choose_layer(self) -> str:
        """Choose the explained layer; the fold models are alike."""
        first = self.member.networks[0]
        body = (next(iter(first.by_epoch().values())) if isinstance(first, LabelwiseNetwork) else first).body
        try:
            return explained_layer(body, self.size)
        except ValueError as error:
            raise ValueError(f"member {self.member.name!r}: {error}") from error

    def score(self, photos: PhotoTensors, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Score photos as the run does.

        Parameters
        ----------
        photos : PhotoTensors
            Photos at the member's size.
        rows : ndarray of int64
            Which of them.

        Returns
        -------
        ndarray of float32, shape (n_rows, n_labels)
            One column per label of the member.
        """
        record = self.member.record
        scores = (
            score_photos(network, photos, rows, record.precision or "float32", self.device, flip=record.flip_tta)
            for network in self.member.networks
        )
        return mean_over_networks(scores, self.member.new_photos)

    def iter_maps(
        self, photos: PhotoTensors, rows: NDArray[np.int64], columns: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Compute maps batch by batch.

        Parameters
        ----------
        photos : PhotoTensors
            Photos at the member's size.
        rows : ndarray of int64
            Which of them.
        columns : ndarray of int64, shape (n_rows, n_asked)
            Labels of each photo, as columns of the member's answer.

        Yields
        ------
        tuple of ndarray of int64 and ndarray of float32
            Places in ``rows``, and their maps (n_places, n_asked, height, width) in [0, 1]: the mean of the networks'
            maps. It reaches 1 only where all of them agree on the place.
        """
        places = split_evenly(np.arange(len(rows)), BATCH)
        batches = photos.iter_batches([rows[place] for place in places])
        for place, (_, pixels) in zip(places, batches, strict=True):
            maps = [self._network_maps(network, pixels, columns[place]) for network in self.member.networks]
            yield place, np.mean(maps, axis=0, dtype=np.float32)

    def _network_maps(
        self, network: MultilabelNetwork | LabelwiseNetwork, pixels: Tensor, columns: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Compute the maps of one network; with its mirror image where it scores so."""

        def compute(shown: Tensor) -> NDArray[np.float32]:
            if self.method == "attention":
                return attention_maps(network, shown, columns)
            return grad_cam(network, shown, columns, layer=self.layer)

        if not self.member.record.flip_tta:
            return compute(pixels)
        return np.asarray((compute(pixels) + compute(pixels.flip(-1))[..., ::-1]) / 2, np.float32)
