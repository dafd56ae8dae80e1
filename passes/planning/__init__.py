"""Pure optimizers of the memory planner: operator order and static placement.

They know nothing of the graph: ``problem`` holds the plain dataclasses, ``order.solve`` and ``place.solve``
map a problem to a solution with a proven lower bound, ``lifetimes.place_problem`` turns an ordered problem
into a placement problem, and ``check`` verifies both solutions independently (it always runs).
"""
