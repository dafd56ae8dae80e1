"""ATen, the operators of an exported PyTorch program, in terms of ONNX's: one module per family.

PyTorch enters as the ONNX model that says the same, in memory, so that both frontends are one: the same importers, the
same graph, the same refusals.
"""
