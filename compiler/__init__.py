"""dnncc: a compiler from trained networks to bit-exact integer code."""
