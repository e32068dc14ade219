"""Diffusion, flow and adversarial models that make images, video, speech and crystals, and how to steer them."""
