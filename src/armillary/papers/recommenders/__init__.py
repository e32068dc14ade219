"""Learning from clicks and ratings: embedding tables, noisy feedback and recommendations that stay fresh."""
