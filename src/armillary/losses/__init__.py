"""Losses that no dependency has."""

from armillary.losses.z_loss import z_loss

__all__ = ["z_loss"]
