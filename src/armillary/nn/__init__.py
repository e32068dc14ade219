"""Layers and models: Equinox modules and pure functions."""

from armillary.nn.affine import affine_biases, affine_sizes, affine_weights, preactivations
from armillary.nn.attention_average import attention_average
from armillary.nn.deep_linear import end_to_end, orthogonal
from armillary.nn.diagonal import DiagonalLinear
from armillary.nn.hidden_units import norm_order, truncate_hidden
from armillary.nn.hopfield import HopfieldNetwork
from armillary.nn.in_context import InContextRegressor, regression_tokens
from armillary.nn.iterated import Iterated, LookupBlock
from armillary.nn.linear_attention import LinearAttention, linear_attention, prompt_moments
from armillary.nn.linear_attention_stack import LinearAttentionStack
from armillary.nn.mlp import MLP
from armillary.nn.optimal_activation import HermiteActivation, optimal_activation
from armillary.nn.random_feature_attention import random_feature_attention
from armillary.nn.random_features import RandomFeatures, gaussian_bump
from armillary.nn.tensor_attention import exponential_features, monomial_weights, tensor_attention
from armillary.nn.three_layer import ThreeLayer
from armillary.nn.transformer import HOOKS, Transformer, layer_norm

__all__ = [
    "HOOKS",
    "MLP",
    "DiagonalLinear",
    "HermiteActivation",
    "HopfieldNetwork",
    "InContextRegressor",
    "Iterated",
    "LinearAttention",
    "LinearAttentionStack",
    "LookupBlock",
    "RandomFeatures",
    "ThreeLayer",
    "Transformer",
    "affine_biases",
    "affine_sizes",
    "affine_weights",
    "attention_average",
    "end_to_end",
    "exponential_features",
    "gaussian_bump",
    "layer_norm",
    "linear_attention",
    "monomial_weights",
    "norm_order",
    "optimal_activation",
    "orthogonal",
    "preactivations",
    "prompt_moments",
    "random_feature_attention",
    "regression_tokens",
    "tensor_attention",
    "truncate_hidden",
]
