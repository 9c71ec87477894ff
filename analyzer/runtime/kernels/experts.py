"""Mixtures of experts.

Source: onnxruntime/contrib_ops/cpu/moe/moe_cpu.cc.
"""

from __future__ import annotations

from analyzer.runtime.kernel import MICROSOFT, Call, Usage, kernel
from analyzer.runtime.kernels.operands import operand
from analyzer.runtime.mlas import FLOAT_BYTES, INT32_BYTES

INT64_BYTES = 8
LEAST_ROWS = 512
"""Rows of an expert's buffers; they grow to twice the tokens where one expert gets more than this."""


@kernel("MoE", domain=MICROSOFT)
def moe(call: Call) -> Usage | None:
    """Routes, then one worker's buffers for an expert at a time, and the sum of all workers.

    How many tokens an expert gets is for the data to say: all of them are assumed, as with a router of zeros. With more
    threads the data decides how many work.
    """
    x, second = operand(call, 0), operand(call, 4)
    if call.threads > 1 or x.dtype.name != "float32":
        return None
    hidden, inner = x.shape[-1], second.shape[2]
    tokens = x.count // hidden
    rows = 2 * tokens if tokens > LEAST_ROWS else LEAST_ROWS
    first = 2 * inner if call.attributes.get("activation_type", "relu") == "swiglu" else inner
    routes = tokens * int(call.attributes.get("k", 1)) * FLOAT_BYTES
    wide, sums = rows * hidden * FLOAT_BYTES, x.count * FLOAT_BYTES
    index = (rows * INT32_BYTES, rows * INT64_BYTES)
    inside = (rows * first * FLOAT_BYTES, rows * inner * FLOAT_BYTES)
    return Usage(scratch=((routes, routes, wide, *index, wide, wide, *inside, sums, sums),))
