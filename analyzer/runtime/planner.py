"""What onnxruntime is about to run, and which tensors its allocation planner lets lie in the same buffer.

The rules are those of `core/framework/allocation_planner.cc` for one stream: the sizes that count are those that the
planner knew, not those that come.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import msgspec

from analyzer.graph import Size
from analyzer.options import Level
from analyzer.runtime.kernel import Call, find

Dims = tuple[int | str | None, ...]


class Value(msgspec.Struct, frozen=True, eq=False):
    """A tensor of a block: what it will be, and what onnxruntime knew of it when it planned.

    `size` is None for what is no tensor (a sequence, an optional) or has no known size. `dims` are those of the saved
    model's value_info: integers, symbols, None for what nobody said; None as a whole where the rank is not told.
    """

    size: Size | None
    dims: Dims | None


class Body(msgspec.Struct, frozen=True, eq=False):
    """A graph attribute of a control-flow node. `trips`: how often it runs, 0 for the branch that is not taken."""

    attribute: str
    block: Block
    trips: int = 1


class Step(msgspec.Struct, frozen=True, eq=False):
    """One node: its call for the kernel table, its operands and results by name ("" where one is left out).

    `captures` are outer values that its bodies read by name, bodies within bodies included.
    """

    name: str
    call: Call
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    captures: tuple[str, ...] = ()
    bodies: tuple[Body, ...] = ()


class Block(msgspec.Struct, frozen=True, eq=False):
    """A graph with its nodes in execution order. `values` holds every tensor that the block names itself: inputs,
    stored ones (`initializers`) and results; what it captures belongs to the block around it.

    `inputs` leaves out inputs that a stored tensor gives a default. `external` are stored tensors that lie in a file of
    their own. `created` is the order (indices into `steps`) in which the session makes the kernels, where it is another
    one.
    """

    steps: tuple[Step, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    initializers: Mapping[str, Size]
    values: Mapping[str, Value]
    created: tuple[int, ...] | None = None
    external: frozenset[str] = frozenset()


class Program(msgspec.Struct, frozen=True, eq=False):
    """The graph that a session runs, and the session's options that its memory depends on.

    `blank`: its weights are all zeros, as they are where a model comes without them; packed weights of one op and size
    are then equal, and onnxruntime keeps equal ones once. `orders` are others in which the main graph's steps may run
    by chance (indices into them); None where nobody can tell.
    """

    main: Block
    level: Level
    threads: int = 1
    pattern: bool = True
    blank: bool = True
    orders: tuple[tuple[int, ...], ...] | None = ()


class Plan(msgspec.Struct, frozen=True, eq=False):
    """Where the results of a block lie: `homes` names for each the tensor whose buffer it lies in, itself where it has
    its own. `released` are the buffers that go after each step.
    """

    homes: Mapping[str, str]
    released: tuple[tuple[str, ...], ...]


class Outcome(msgspec.Struct, frozen=True):
    """What onnxruntime's profile would say of the arena at the end of the second run (of the first without pattern).

    base_bytes            requested before the first kernel runs
    peak_bytes            most bytes of chunks in use since the arena was made (`mem_in_use_peak`)
    held_bytes            obtained from the system (`mem_arena_held`)
    least_peak_bytes      the peak where chance orders the nodes best; the other figures are those where it is worst
    requested_peak_bytes  most bytes requested, seen after a kernel
    unmodelled            (domain, op_type) that no kernel was found for, with the number of nodes
    """

    base_bytes: int
    peak_bytes: int
    held_bytes: int
    least_peak_bytes: int
    requested_peak_bytes: int
    unmodelled: Mapping[tuple[str, str], int] = {}


def plan(block: Block, within: str = "") -> Plan:
    """Plan a block; `within` is the op type of the control-flow node that it is a body of."""
    uses = _uses(block)
    homes: dict[str, str] = {}
    idle: list[str] = []  # buffers that nobody needs any more, the latest first
    for step in block.steps:
        for place, name in enumerate(step.outputs):
            if not name:
                continue
            home = _home(block, within, step, place, uses, homes, idle)
            homes[name] = home
            if home != name:
                uses[home] += uses[name]
        for name in _touched(step):
            home = homes.get(name, name)
            uses[home] -= 1
            if not uses[home]:
                idle.insert(0, home)
    return Plan(homes, _released(block, homes))


def _uses(block: Block) -> Counter[str]:
    """How often each tensor is made and read, the caller's and the session's hold on it included."""
    own = {name for step in block.steps for name in step.outputs}
    uses = Counter(name for step in block.steps for name in _touched(step))
    uses.update(
        name for name in list(uses) if name not in own
    )  # inputs, stored ones, those of the block around
    uses.update(block.outputs)
    return uses


def _touched(step: Step) -> Iterator[str]:
    """What a step reads, then what it makes."""
    return (name for name in (*step.inputs, *step.captures, *step.outputs) if name)


def _home(
    block: Block,
    within: str,
    step: Step,
    place: int,
    uses: Counter[str],
    homes: Mapping[str, str],
    idle: list[str],
) -> str:
    """The buffer that a result gets: an operand's, one that is idle, or its own."""
    name = step.outputs[place]
    if name in block.outputs:
        passed = step.inputs[0] if step.inputs else ""
        is_state = within == "Loop" and step.call.op_type == "Identity" and passed != block.inputs[0]
        return passed if is_state and passed not in homes and passed not in block.initializers else name
    operand = _operand(block, step, place, uses, homes)
    if operand:
        return homes.get(operand, operand)
    wanted = block.values.get(name)
    if wanted is not None and wanted.dims and uses[name] > 1:  # what nobody reads gets a buffer of its own
        for index, buffer in enumerate(idle):
            if alike(block.values.get(buffer), wanted):
                return idle.pop(index)
    return name


def _operand(
    block: Block, step: Step, place: int, uses: Counter[str], homes: Mapping[str, str]
) -> str | None:
    """The operand whose buffer a result must or may take."""
    kernel = find(step.call.domain, step.call.op_type)
    if kernel is None:
        return None
    given = dict(enumerate(step.inputs))
    for source, target in kernel.alias:
        if target == place and given.get(source):
            return given[source]
    for source, target in kernel.inplace:
        operand = given.get(source)
        if target != place or not operand or uses[homes.get(operand, operand)] != 1:
            continue
        if alike(block.values.get(operand), block.values.get(step.outputs[place])):
            return operand
    return None


def alike(one: Value | None, other: Value | None) -> bool:
    """Whether two tensors are as large for all that the planner knows: equal dims, elements of the same width."""
    if one is None or other is None or one.dims is None or other.dims is None:
        return False
    if one.size is None or other.size is None or None in (one.size.dtype.bits, other.size.dtype.bits):
        return False
    if not all(dim or dim == 0 for dim in one.dims):  # a dim that nobody named equals no other
        return False
    return one.dims == other.dims and _width(one.size) == _width(other.size)


def _width(size: Size) -> int:
    """Bytes of an element as it lies in memory: narrow ones come in pairs and fours."""
    return -(-(size.dtype.bits or 0) // 8)


def _released(block: Block, homes: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    """The buffers that go after each step: those of results that are nobody's output, after the last step that reads
    what lies in them. One that is never read stays until the run is over.
    """
    own = {name for name, home in homes.items() if name == home and name not in block.outputs}
    last: dict[str, int] = {}
    for index, step in enumerate(block.steps):
        for name in (*step.inputs, *step.captures):
            home = homes.get(name, name)
            if home in own:
                last[home] = index
    released: list[list[str]] = [[] for _ in block.steps]
    for name, index in last.items():
        released[index].append(name)
    return tuple(map(tuple, released))
