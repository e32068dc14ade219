"""In-context learning: how a trained sequence model learns from its prompt."""
