"""Recomputation under a memory budget: ``problem`` states it, ``solve.solve`` solves it, ``check`` verifies."""
