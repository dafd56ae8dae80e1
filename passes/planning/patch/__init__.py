"""Stages of a network in parts of the image: which layers, in which form, over which grid.

`problem` states it, `schedule` lays one choice out row by row, `solve` searches the choices, `check` verifies one.
"""
