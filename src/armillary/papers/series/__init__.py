"""Forecasting, filling gaps in and reconstructing the systems behind sequences measured in time."""
