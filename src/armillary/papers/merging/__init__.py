"""Model merging: averaging, aligning and combining trained networks."""
