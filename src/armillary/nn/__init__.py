"""Layers and models: Equinox modules and pure functions."""

from armillary.nn.linear_attention import LinearAttention, linear_attention, prompt_moments
from armillary.nn.mlp import MLP

__all__ = [
    "MLP",
    "LinearAttention",
    "linear_attention",
    "prompt_moments",
]
