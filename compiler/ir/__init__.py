"""The graph IR: types, graph, text form, verifier."""

from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ir.types import Array, DType, Quantization, TensorType

__all__ = ["Array", "Const", "DType", "Graph", "Node", "Quantization", "TensorType", "Value"]
