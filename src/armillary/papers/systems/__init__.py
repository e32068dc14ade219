"""Systems: compilers, distributed machines, and the cost of computation."""
