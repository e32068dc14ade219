"""Robustness: adversarial inputs, shortcuts and distribution shift."""
