"""FashionBlocks: drawn garments with many labels, made from a seed."""

from experiments.fashionblocks.synthesis import draw_sample, synthesize
from experiments.fashionblocks.wardrobe import LABELS, Garment, draw_garment_plan

__all__ = ["LABELS", "Garment", "draw_garment_plan", "draw_sample", "synthesize"]
