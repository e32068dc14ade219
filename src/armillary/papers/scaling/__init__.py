"""Scaling: how training changes with data, width and time."""
