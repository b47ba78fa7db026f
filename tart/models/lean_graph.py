"""Leaving out of a graph what nobody reads: where only the first token is looked at, the last layer is for it alone.

Of a model with six layers that is a seventh of the work, and every number that remains is the same to the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from openvino import opset13 as ops  # type: ignore[import-untyped]

ATTENTION = "ScaledDotProductAttention"
EACH_TOKEN = {"Add", "Gelu", "MatMul", "MVN", "Multiply", "Relu", "Reshape", "Tanh", "Transpose", ATTENTION}
"""What makes a token's numbers from that token's alone; attention as far as its queries go."""
MASK = 3  # which input of attention


def keep_first_token(graph: Any) -> int:
    """Cut to the first token what only it is read of; the graph is changed in place.

    Args:
        graph: an OpenVINO model; one that reads more than the first token stays as it is.

    Returns:
        How many cuts were made.
    """
    axes = _first_token_nodes(graph)
    cuts = 0
    for node in graph.get_ordered_ops():
        if node.get_name() not in axes:
            continue
        for place in range(node.get_input_size()):
            axis = _axis_before(node, place, axes[node.get_name()])
            port = node.input_value(place)
            if axis is None or port.get_node().get_name() in axes or _constant(node, place) is not None:
                continue
            edges = [ops.constant(np.asarray([number])) for number in (0, 1, 1, axis)]  # start, stop, step, axis
            node.input(place).replace_source_output(ops.slice(port, *edges).output(0))
            cuts += 1
    graph.validate_nodes_and_infer_types()
    return cuts


def _first_token_nodes(graph: Any) -> dict[str, int]:
    """Names of the nodes of which only the first token is read, and the axis on which it lies."""
    axes: dict[str, int] = {}
    for node in reversed(graph.get_ordered_ops()):
        kind = node.get_type_name()
        if not axes:
            if kind == "Gather" and _is(node, 1, 0) and _is(node, 2, 1):  # the first along axis 1
                axes[node.get_name()] = 1
            continue
        if kind not in EACH_TOKEN or (kind in ("MatMul", "Reshape", "Transpose") and _constant(node, 1) is None):
            continue
        readers = [(port.get_node(), port.get_index()) for port in node.output(0).get_target_inputs()]
        found = {_axis_before(reader, place, axes.get(reader.get_name())) for reader, place in readers}
        if len(found) == 1 and (axis := found.pop()) is not None:
            axes[node.get_name()] = axis
    return axes


def _axis_before(node: Any, place: int, axis: int | None) -> int | None:
    """Where the tokens lie in an input of a node, whose own lie on `axis`; None if all of them are read."""
    if axis is None or (node.get_type_name() == ATTENTION and place not in (0, MASK)):
        return None
    if node.get_type_name() == "Transpose":
        order = _constant(node, 1)
        return None if order is None else int(order[axis])
    return axis


def _constant(node: Any, place: int) -> Any:
    source = node.input_value(place).get_node()
    return source.data if source.get_type_name() == "Constant" else None


def _is(node: Any, place: int, wanted: int) -> bool:
    found = _constant(node, place)
    return found is not None and found.size == 1 and int(found.item()) == wanted
