"""How a model is trained, and what a step of it takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fnmatch import fnmatchcase

import msgspec

from analyzer.describe import Scene
from analyzer.graph import Size
from analyzer.passes.training import Saved, saved
from analyzer.passes.training.segments import cut, keepers
from analyzer.passes.training.step import Step, step


class Recipe(msgspec.Struct, frozen=True):
    """Everything beside the model that decides what training takes.

    unfold       batch norms that were folded away are back, and dropout is at work
    half         results of float32 take two bytes, computed with a half copy of the matrices among the parameters; the
                 parameters themselves, their gradients and the optimizer's state stay whole
    freeze       globs: parameters so named do not learn
    checkpoints  segments of which only what crosses into them is kept; 0: none; None: as many as the root of the nodes
                 that keep something
    copies       of the parameters that learn, as the optimizer's state
    temporaries  arrays of a parameter's size that the optimizer makes at a time; `foreach`: of all parameters at once
    """

    unfold: bool = True
    half: bool = False
    freeze: tuple[str, ...] = ()
    checkpoints: int | None = 0
    copies: int = 0
    temporaries: int = 0
    foreach: bool = False


class Trained(msgspec.Struct, frozen=True):
    """What autograd keeps of a forward pass, and what a step takes beside what stands all the time.

    `standing_bytes` are parameters, buffers, inputs and the optimizer's copies; `gradient_bytes` are of the parameters
    that learn; `idle` are the globs that fit no parameter.
    """

    kept: Saved
    step: Step
    gradient_bytes: int
    optimizer_bytes: int
    standing_bytes: int
    segments: int
    idle: tuple[str, ...]


def train(
    scene: Scene,
    weights: Mapping[str, Size],
    buffers: Mapping[str, Size],
    readers: Mapping[str, int],
    recipe: Recipe,
) -> Trained:
    """One step of `scene`. `readers` tells the node that first reads each weight."""
    amounts = {name: size.bytes or 0 for name, size in weights.items()}
    frozen = {name for glob in recipe.freeze for name in weights if fnmatchcase(name, glob)}
    learning = {
        name: amount
        for name, amount in amounts.items()
        if weights[name].dtype.is_float and name not in frozen
    }
    still = frozen | buffers.keys() if frozen else frozen  # statistics alone make nothing need a gradient
    kept = saved(scene, recipe.unfold, still)
    number = math.isqrt(keepers(kept)) if recipe.checkpoints is None else recipe.checkpoints
    segments = cut(scene, kept, number) if number > 1 else ()
    own, bodies = dict[str, int](), dict[int, int]()
    for name, amount in learning.items():
        if name in scene.sizes:
            own[name] = amount
        else:
            bodies[readers[name]] = bodies.get(readers[name], 0) + amount
    gradients = sum(learning.values())
    taken = step(
        scene,
        kept,
        own,
        bodies=bodies,
        segments=segments,
        half=recipe.half,
        copied_bytes=sum(amount // 2 for name, amount in amounts.items() if weights[name].rank > 1)
        if recipe.half
        else 0,
        optimizer_bytes=gradients
        if recipe.foreach and recipe.temporaries
        else recipe.temporaries * max(learning.values(), default=0),
    )
    stored = sum(amounts.values()) + sum(size.bytes or 0 for size in buffers.values())
    given = sum(scene.bytes.get(tensor.name, 0) for tensor in scene.graph.inputs)
    return Trained(
        kept=kept,
        step=taken,
        gradient_bytes=gradients,
        optimizer_bytes=recipe.copies * gradients,
        standing_bytes=stored + given + recipe.copies * gradients,
        segments=len(segments),
        idle=tuple(glob for glob in recipe.freeze if not any(fnmatchcase(name, glob) for name in weights)),
    )
