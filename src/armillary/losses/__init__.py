"""Losses that no dependency has."""

from armillary.losses.field_space import binary_divergence, binary_perceptron_loss
from armillary.losses.orthogonal_conv import orthogonal_conv
from armillary.losses.z_loss import z_loss

__all__ = ["binary_divergence", "binary_perceptron_loss", "orthogonal_conv", "z_loss"]
