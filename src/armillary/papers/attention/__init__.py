"""Attention: what a single attention layer computes, learns and costs."""
