"""Which layer gets how many bits: an integer program (HAWQ-V3, Yao et al., ICML 2021, section 3.3)."""
