"""Layers and models: Equinox modules and pure functions."""

from armillary.nn.diagonal import DiagonalLinear
from armillary.nn.linear_attention import LinearAttention, linear_attention, prompt_moments
from armillary.nn.mlp import MLP
from armillary.nn.transformer import HOOKS, Transformer, layer_norm

__all__ = [
    "HOOKS",
    "MLP",
    "DiagonalLinear",
    "LinearAttention",
    "Transformer",
    "layer_norm",
    "linear_attention",
    "prompt_moments",
]
