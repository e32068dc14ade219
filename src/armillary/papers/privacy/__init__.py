"""Privacy and unlearning: protecting training data, and forgetting them."""
