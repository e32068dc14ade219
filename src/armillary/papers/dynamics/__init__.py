"""How training goes: step sizes, stability, coherence, feature learning, generalization."""
