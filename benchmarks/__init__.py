"""Benchmarks: what dnncc reaches, measured, beside its bars and what others reach. ``python -m benchmarks --help``."""
