"""Optimizers and training rules, with and without backpropagation."""
