"""Seeing and restoring images: architectures, losses, reconstruction, scenes and video."""
