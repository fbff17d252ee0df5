"""Which places of a photo speak for a label: Grad-CAM, and the maps of the attention head."""

from base_models.explanation.attention_maps import attention_maps
from base_models.explanation.grad_cam import grad_cam
from base_models.explanation.layers import explained_layer
from base_models.explanation.member_maps import MemberExplainer
from base_models.explanation.overlay import enlarge_map, overlay_map

__all__ = [
    "MemberExplainer",
    "attention_maps",
    "enlarge_map",
    "explained_layer",
    "grad_cam",
    "overlay_map",
]
