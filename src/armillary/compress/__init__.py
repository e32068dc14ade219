"""Compression: pruning and rounding of parameters."""

from armillary.compress.pruning import global_magnitude_mask
from armillary.compress.rounding import round_symmetric

__all__ = ["global_magnitude_mask", "round_symmetric"]
