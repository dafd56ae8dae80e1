"""FPGA through HLS C++: a network as a pipeline of streaming stages, sized for one part."""
