"""Losses that no dependency has."""

from armillary.losses.orthogonal_conv import orthogonal_conv
from armillary.losses.z_loss import z_loss

__all__ = ["orthogonal_conv", "z_loss"]
