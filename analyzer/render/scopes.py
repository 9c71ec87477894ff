"""Where in the author's model a node sits, as far as names tell: "/layer1/layer1.0/conv1/Conv" is layer1, .0, conv1.

A scope is a tuple of parts that join to a readable path. Names come in many dialects: module paths with slashes or
dots, `inception_3a/3x3`, `res2_0_branch2a`, and exporters' serial numbers, which say nothing. A weight's name often
tells what its node's does not.
"""

from __future__ import annotations

import re

Scope = tuple[str, ...]

_ADDED = re.compile(r"(_output_0.*|_(quant|quantized|QuantizeLinear|DequantizeLinear|nchwc|token_\d+))+$")
_LEAF = re.compile(r"[A-Z][A-Za-z0-9]*(_\d+)?")
_SERIAL = re.compile(r"(node_.*|val_\d+|.*::.*|[nrtvxy]?_?\d+|[A-Za-z]?)", re.DOTALL)
_ROLE = re.compile(
    r"[._/](weight|bias|kernel|gamma|beta|scale|value|w|b|s|W|B)(_bias|_quantized|_scale|_zero_point)*([_.]\d+)?$"
)
_NUMBERED = re.compile(r"(?=_\d+(?:_|$))|(?<=\d)(?=_)")


def of_node(name: str, op_type: str) -> Scope | None:
    """The scope that a node's own name tells, or None: a bare name is an op's serial number more often than a place."""
    path = _ADDED.sub("", name).strip("/")
    if "/" not in path and "." not in path:
        return None
    place, slash, leaf = path.rpartition("/")
    if _LEAF.fullmatch(leaf) or re.fullmatch(rf"{re.escape(op_type)}(_\d+)?", leaf):
        return _parts(place) if slash else None
    return _parts(path)


def of_bare_node(name: str, op_type: str) -> Scope | None:
    """The scope of a node with a bare name, for a node with weights: "conv1_2" tells, "Conv_12" and "n12" do not."""
    if (
        "/" in name
        or _SERIAL.fullmatch(name)
        or re.fullmatch(rf"{re.escape(op_type)}[_\d]*", name, re.IGNORECASE)
    ):
        return None
    return _parts(name)


def of_weight(name: str, *, bare: bool) -> Scope | None:
    """The scope that a weight's name tells: "layer1.0.conv1.weight", "gpu_0/res2_0_branch2a_w_0".

    `bare`: whether a name that is no dotted path counts as well; biases and norms of older exports mislead there.
    """
    path = _ROLE.sub("", name)
    if _SERIAL.fullmatch(path) or (not bare and ("." not in name or path == name)):
        return None
    return _parts(path)


def spell(scope: Scope) -> str:
    """The scope as a path: parts bring their own separators, save the one in front."""
    return "".join(scope).lstrip("./_")


def numbered(scope: Scope) -> bool:
    """Whether the scope begins with a number: a member of a container, ".5" of "features.5"."""
    return bool(scope) and scope[0].lstrip("./_").isdigit()


def shared(scopes: list[Scope]) -> Scope:
    """The longest common beginning."""
    if not scopes:
        return ()
    low, high = min(scopes), max(scopes)
    length = 0
    while length < min(len(low), len(high)) and low[length] == high[length]:
        length += 1
    return low[:length]


def spell_range(scopes: list[Scope], *, inside: bool = False) -> str:
    """A name for neighbours, in their order: "features.4-6", "layer1", "gconv1..gconv3".

    `inside`: they are one part of each of several blocks, which is named as well: "layers.0-11/attention".
    """
    prefix = shared(scopes)
    depth = len(prefix)
    longer = [scope for scope in scopes if len(scope) > depth]
    if not longer:
        return spell(prefix)
    first, last = longer[0][depth], longer[-1][depth]
    if (
        first == last and len({scope[depth] for scope in longer}) > 1
    ):  # a place that the run leaves and comes back to
        first, last = min(scope[depth] for scope in longer), max(scope[depth] for scope in longer)
    name = spell((*prefix, first))
    if first != last:
        name += ("-" if last[1:].isdigit() else "..") + last.lstrip("./_")
    return name + (
        "".join(shared([scope[depth + 1 :] for scope in longer if scope[depth + 1 :]])) if inside else ""
    )


def _parts(path: str) -> Scope:
    """Parts of a path; a segment that repeats the one before ("layer1/layer1.0") adds only what is new."""
    parts: list[str] = []
    before = ""
    for segment in path.split("/"):
        new = segment[len(before) :] if before and segment.startswith(before + ".") else "/" + segment
        dotted = re.split(r"(?=\.)", new)
        parts += [piece for part in dotted for piece in _NUMBERED.split(part) if piece]
        before = segment
    return tuple(parts)
