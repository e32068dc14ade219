"""Statistics and learning theory: what it takes to learn."""
