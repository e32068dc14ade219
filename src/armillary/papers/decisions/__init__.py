"""Reinforcement learning, bandits, games and control: learning what to do, and how much experience it takes."""
