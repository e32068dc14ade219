"""Explaining what a trained network looks at, computes and knows, and testing whether the explanation is right."""
