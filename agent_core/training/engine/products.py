"""Matrix products in the forms that cost a compiled program least on the CPU.

A product is a call of a library, which for small networks takes longer than the product itself. One with a side of
length 1 is a loop like others, and is merged with its neighbours. A sum that follows a product is kept apart from
it, to be merged with what comes next: inductor would join the two to one call (`addmm`), which first copies what
is added.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch.fx import GraphModule, Node

_aten: Final[Any] = torch.ops.aten


def _product(left: torch.Tensor, right: torch.Tensor) -> Any:
    """`[M, N]` of `left` `[M, K]` and `right` `[K, N]`; NotImplemented where the library is to do it."""
    if left.shape[1] == 1:
        return left * right
    if right.shape[1] == 1:
        return (left * right.squeeze(1)).sum(1, keepdim=True)
    if left.shape[0] == 1:
        return (left.squeeze(0).unsqueeze(1) * right).sum(0, keepdim=True)
    return NotImplemented


def _sum_and_product(
    added: torch.Tensor,
    left: torch.Tensor,
    right: torch.Tensor,
    *,
    beta: float = 1,
    alpha: float = 1,
) -> Any:
    if beta != 1 or alpha != 1:
        return NotImplemented
    return left @ right + added


DECOMPOSITIONS: Final[Mapping[Any, Callable[..., Any]]] = {
    _aten.mm.default: _product,
    _aten.addmm.default: _sum_and_product,
}
"""For `make_fx`."""


def keep_sums_apart(graph: GraphModule) -> None:
    """Writes every x y + z of `graph` as x y - (-z), which inductor leaves as it is."""
    for node in list(graph.graph.nodes):
        if node.target is _aten.add.Tensor and not node.kwargs:
            terms = sorted(node.args, key=_is_product, reverse=True)
            if _is_product(terms[0]):
                _subtract(graph, node, *terms)
    graph.recompile()


def _is_product(term: Any) -> bool:
    return isinstance(term, Node) and term.target is _aten.mm.default


def _subtract(graph: GraphModule, node: Node, product: Node, added: Any) -> None:
    with graph.graph.inserting_before(node):
        negative = graph.graph.call_function(_aten.neg.default, (added,))
        difference = graph.graph.call_function(_aten.sub.Tensor, (product, negative))
    node.replace_all_uses_with(difference)
    graph.graph.erase_node(node)
