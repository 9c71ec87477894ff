"""Reductions and softmax. Reductions step through any axes where they lie; softmax wants its axis last.

Sources, under onnxruntime/core/providers/cpu: math/softmax.cc, math/hardmax.cc, reduction/reduction_ops.cc,
math/top_k.cc (indices in vectors of its own), math/cumsum.cc.
"""

from __future__ import annotations

from analyzer.runtime.kernel import NOTHING, Call, Usage, kernel, plain
from analyzer.runtime.kernels.operands import operand

MOVES_AXIS = 13
"""Before this version softmax flattens its input into two axes."""

plain("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2")
plain("ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare")
plain("ArgMax", "ArgMin", "TopK", "CumSum", "CumProd")


def _softmax(call: Call) -> Usage:
    """An axis that is not the last is moved there, and back again."""
    x = operand(call, 0)
    axis = int(call.attributes.get("axis", -1))
    if call.version < MOVES_AXIS or axis % max(x.rank, 1) == x.rank - 1 or not x.count:
        return NOTHING
    return Usage(scratch=((x.bytes or 0,) * 2,))


kernel("Softmax", "LogSoftmax", inplace=((0, 0),))(_softmax)
kernel("Hardmax")(_softmax)
