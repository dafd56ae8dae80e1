"""PyTorch programs: a module through ``torch.export``, a ``torch.fx.GraphModule``, or a saved ``.pt2`` file.

The exported program's ATen operators become ONNX nodes one by one (``dnncc.frontends.aten``), in memory, and
``dnncc.frontends.onnx`` imports those: a model gives the same graph whichever way it comes.
"""

from __future__ import annotations

import importlib
import logging
import operator
import pkgutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dnncc.frontends.aten
import numpy as np
from dnncc.errors import Culprit, ToolMissingError, UnreadableModelError, UnsupportedError, UsageError
from dnncc.frontends.aten.builder import ATEN, ELEMENTS, ONNX_TYPES, OPSET, Builder, Ref

SUFFIX = ".pt2"


def is_module(model: Any) -> bool:
    """Whether ``model`` is a PyTorch module or exported program; loads nothing where torch is not in use."""
    kinds = {f"{c.__module__}.{c.__qualname__}" for c in type(model).__mro__}
    return bool(kinds & {"torch.nn.modules.module.Module", "torch.export.exported_program.ExportedProgram"})


def torch_to_onnx(model: Any, example_inputs: Sequence[Any] | None = None, name: str = "") -> Any:
    """The ONNX model that says what a PyTorch program says.

    Args:
        model: an ``nn.Module`` (``fx.GraphModule`` included), which is exported as it is in evaluation; an
            ``ExportedProgram``; or the path of one that ``torch.export.save`` wrote.
        example_inputs: the positional arguments of a module; their shapes become the network's.
        name: of the network; by default the module's class or the file.

    Returns:
        An ``onnx.ModelProto``. Inputs are named after the parameters of ``forward``; outputs ``output``, or
        ``output_0``, ... of several, or after the keys of a dict.

    Raises:
        ToolMissingError: torch is not installed.
        UsageError: a module without example inputs.
        UnreadableModelError: no exported program in the file, or the module cannot be exported.
        UnsupportedError: with every operator that dnncc does not know.
    """
    torch = _torch()
    _load_converters()
    program = _program(torch, model, example_inputs)
    program = _decomposed(torch, program)
    label = name or (Path(model).stem if isinstance(model, str | Path) else type(model).__name__)
    return _Converter(torch, program).model(label)


def _torch() -> Any:
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        raise ToolMissingError(
            "PyTorch models need torch, which is not installed", help="pip install 'dnncc[torch]'"
        ) from error


def _load_converters() -> None:
    for module in sorted(m.name for m in pkgutil.iter_modules(dnncc.frontends.aten.__path__)):
        importlib.import_module(f"dnncc.frontends.aten.{module}")


def _program(torch: Any, model: Any, example_inputs: Sequence[Any] | None) -> Any:
    if isinstance(model, str | Path):
        try:
            with _silence():
                return torch.export.load(str(model))
        except Exception as error:
            raise UnreadableModelError(
                f"'{model}' holds no exported PyTorch program: {_first_line(error)}",
                help="write it with torch.export.save(torch.export.export(module.eval(), example_inputs), path)",
            ) from error
    if not isinstance(model, torch.nn.Module):
        return model
    if example_inputs is None:
        raise UsageError(
            "a PyTorch module needs example inputs", help="dnncc.compile(module, (x,), target=...)"
        )
    arguments = tuple(example_inputs) if isinstance(example_inputs, tuple | list) else (example_inputs,)
    training = model.training
    model.eval()
    try:
        with _silence(), torch.no_grad():
            return torch.export.export(model, arguments)
    except Exception as error:
        raise UnreadableModelError(
            f"torch.export cannot export '{type(model).__name__}': {_first_line(error)}",
            help="export it yourself with torch.export.export to see where; control flow must not depend on data",
        ) from error
    finally:
        model.train(training)


def _decomposed(torch: Any, program: Any) -> Any:
    """Without in-place operators, and with what dnncc does not know broken into smaller operators."""
    with _silence():
        table = torch.export.default_decompositions()
        for overload in list(table):
            if str(overload) in ATEN:
                table.pop(overload)
        return program.run_decompositions(table)


@contextmanager
def _silence() -> Iterator[None]:
    """Without what torch says beside its exceptions, tracebacks among it."""
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


ASSERTIONS = ("aten._assert_tensor_metadata.default", "aten._assert_scalar.default")
"""They compute nothing: what they assert of types and sizes was found to hold when the program was exported."""


class _Converter:
    """One exported program while it becomes an ONNX model; unknown operators are collected."""

    def __init__(self, torch: Any, program: Any) -> None:
        self.torch = torch
        self.program = program
        self.builder = Builder()
        self.values: dict[Any, Any] = {}
        """Per fx node: a ``Ref``, a list of them, or None where an operator was unknown."""
        self.culprits: list[Culprit] = []

    def model(self, name: str) -> Any:
        from onnx import helper

        inputs = self._inputs()
        for node in self.program.graph.nodes:
            if str(node.target) in ASSERTIONS:
                continue
            if node.op == "call_function":
                self.values[node] = self._call(node)
            elif node.op not in ("placeholder", "output"):
                self.culprits.append(
                    Culprit(node.name, str(node.target), "is no operator of an exported program")
                )
        outputs = self._outputs()
        if self.culprits:
            raise UnsupportedError(
                "the PyTorch program uses what dnncc does not support",
                self.culprits,
                help="export to ONNX instead, or replace these operators",
            )
        graph = helper.make_graph(self.builder.nodes, name, inputs, outputs, self.builder.initializers)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="dnncc")

    def _inputs(self) -> list[Any]:
        from onnx import helper

        signature = self.program.graph_signature
        data = {
            **{
                spec: self.program.state_dict[target]
                for spec, target in signature.inputs_to_parameters.items()
            },
            **{spec: self._buffer(target) for spec, target in signature.inputs_to_buffers.items()},
            **{
                spec: self.program.constants[target]
                for spec, target in signature.inputs_to_lifted_tensor_constants.items()
            },
        }
        inputs = []
        for node in self.program.graph.nodes:
            if node.op != "placeholder":
                continue
            if node.name in data and not node.users:
                continue
            if node.name in data:
                self.values[node] = self._constant(node.name, data[node.name])
                continue
            fake = node.meta.get("val")
            if not isinstance(fake, self.torch.Tensor):
                self.values[node] = fake  # a number that was given as an example is part of the program
                continue
            ref = self._ref(node.name, fake)
            self.values[node] = ref
            if ref is not None:
                inputs.append(helper.make_tensor_value_info(ref.name, ONNX_TYPES[ref.dtype], ref.shape))
        return inputs

    def _buffer(self, target: str) -> Any:
        found = self.program.state_dict.get(target)
        return self.program.constants[target] if found is None else found

    def _constant(self, name: str, tensor: Any) -> Ref | None:
        from onnx import numpy_helper

        ref = self._ref(name, tensor)
        if ref is not None:
            element = {"float32": self.torch.float32}.get(ref.dtype, tensor.dtype)
            array = np.ascontiguousarray(tensor.detach().cpu().to(element).numpy()).reshape(ref.shape)
            self.builder.initializers.append(numpy_helper.from_array(array, name))
        return ref

    def _ref(self, name: str, tensor: Any) -> Ref | None:
        element = str(tensor.dtype).removeprefix("torch.")
        if element not in ELEMENTS:
            self.culprits.append(Culprit(name, reason=f"is a tensor of {element}"))
            return None
        if not all(isinstance(d, int) for d in tensor.shape):
            self.culprits.append(Culprit(name, reason=f"has the dynamic shape {list(tensor.shape)}"))
            return None
        return Ref(name, tuple(tensor.shape), ELEMENTS[element][0])

    def _call(self, node: Any) -> Any:
        if node.target is operator.getitem:
            source = self.values[node.args[0]]
            return None if source is None else source[node.args[1]]
        arguments = self._value(node.args), self._value(node.kwargs)
        if any(self._is_unknown(n) for n in node.all_input_nodes):
            return None
        converter = ATEN.get(str(node.target))
        label = _label(node)
        if converter is None:
            self.culprits.append(Culprit(label, str(node.target), "operator is not supported"))
            return None
        fakes = node.meta["val"]
        several = isinstance(fakes, tuple | list)
        found = [
            self._ref("", f) if isinstance(f, self.torch.Tensor) else None
            for f in (fakes if several else [fakes])
        ]
        self.builder.results, self.builder.label = found, label
        try:
            made = converter(self.builder, *arguments[0], **arguments[1])
        except UnsupportedError as error:
            self.culprits.append(Culprit(label, str(node.target), error.message))
            return None
        names = [made] if isinstance(made, str) else list(made)
        refs = [
            None if ref is None or i >= len(names) else Ref(names[i], ref.shape, ref.dtype)
            for i, ref in enumerate(found)
        ]
        return refs if several else refs[0]

    def _is_unknown(self, node: Any) -> bool:
        return (
            node in self.values
            and self.values[node] is None
            and isinstance(node.meta.get("val"), self.torch.Tensor | tuple | list)
        )

    def _value(self, x: Any) -> Any:
        """An argument with tensors as ``Ref``."""
        if isinstance(x, self.torch.fx.Node):
            return self.values[x]
        if isinstance(x, Mapping):
            return {k: self._value(v) for k, v in x.items() if k not in ("device", "layout", "pin_memory")}
        if isinstance(x, tuple | list):
            return [self._value(v) for v in x]
        return x

    def _outputs(self) -> list[Any]:
        from onnx import helper

        (last,) = (n for n in self.program.graph.nodes if n.op == "output")
        user = set(self.program.graph_signature.user_outputs)
        refs = [self.values[a] for a in last.args[0] if getattr(a, "name", None) in user]
        names = self._output_names(len(refs))
        infos = []
        for name, ref in zip(names, refs, strict=True):
            if ref is None:
                continue
            self.builder.nodes.append(helper.make_node("Identity", [ref.name], [name], name=name))
            infos.append(helper.make_tensor_value_info(name, ONNX_TYPES[ref.dtype], ref.shape))
        return infos

    def _output_names(self, count: int) -> list[str]:
        spec = self.program.call_spec.out_spec
        keys = list(spec.context) if spec is not None and spec.type is dict else []
        if len(keys) == count and len(set(map(str, keys))) == count:
            return [str(key) for key in keys]
        return ["output"] if count == 1 else [f"output_{i}" for i in range(count)]


def _label(node: Any) -> str:
    """The path of the module that the node belongs to, and the node's own name."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = str(stack[-1][0]).removeprefix("L['self'].").strip(".") if stack else ""
    return f"{path}.{node.name}" if path and "[" not in path else str(node.name)
