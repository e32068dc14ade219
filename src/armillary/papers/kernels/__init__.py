"""Kernels and wide networks: random features and tangent kernels."""
