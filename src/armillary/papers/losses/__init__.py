"""Losses and output layers."""
