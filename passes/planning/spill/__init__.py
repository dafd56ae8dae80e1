"""Planning for a scratchpad: order, residency, spills and retrievals for the least off-chip traffic.

``problem`` holds the dataclasses, ``solve.solve`` maps a problem to a solution with a proven lower bound that holds
for every order, ``check.check_spill`` verifies it independently, ``reference.solve_reference`` is the published
integer program (COSMA, arXiv 2311.18246) for small graphs.
"""
