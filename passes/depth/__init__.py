"""Depth merging: which activations go and which convolutions become one, and doing it."""
