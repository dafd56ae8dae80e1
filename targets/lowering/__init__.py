"""From a fused group to C through Apache TVM. Every import of tvm in the project is in this package."""
