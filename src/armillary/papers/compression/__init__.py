"""Pruning, quantizing, distilling and condensing: what a network or a data set can lose before its accuracy does."""
