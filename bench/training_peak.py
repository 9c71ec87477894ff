"""Real PyTorch training steps on a CPU: the most bytes allocated at once, beside the exports that describe them.

    python bench/training_peak.py                # every model; torch and torchvision must be there
    python bench/training_peak.py unet mlp       # these anew

For each model `tests/data/training/NAME.onnx`, exported in training mode with a free batch and stripped of its weights,
and one `docs/verification/training_cpu.json`: per model, batch and optimizer the bytes that stand before a step
(parameters, buffers, input, optimizer state), and the most that stand during it. The third step is measured, from after
zero_grad() to the end of step(), by the profiler's record of every allocation and release; the loss is the sum of the
outputs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import platform
import sys
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn
from torch.utils.checkpoint import checkpoint_sequential

from analyzer.load import strip

ROOT = Path(__file__).parent.parent
EXPORTS, TRUTH = ROOT / "tests" / "data" / "training", ROOT / "docs" / "verification" / "training_cpu.json"
BATCHES = (1, 4)
OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=1e-4),
    "momentum": lambda parameters: torch.optim.SGD(parameters, lr=1e-4, momentum=0.9),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=1e-4),
}


class Mlp(nn.Sequential):
    """Three matrix products."""

    def __init__(self) -> None:
        layers = [
            (nn.Linear(784, 1024), nn.ReLU()),
            (nn.Linear(1024, 1024), nn.GELU()),
            (nn.Linear(1024, 10),),
        ]
        super().__init__(*(layer for group in layers for layer in group))


class Double(nn.Sequential):
    """Two convolutions, each normalised."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__(
            nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(inplace=True),
            nn.Conv2d(outside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(inplace=True),
        )  # fmt: skip


class UNet(nn.Module):
    """Three levels down and up again, with skips."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([Double(3, 32), Double(32, 64), Double(64, 128)])
        self.bottom = Double(128, 256)
        self.wide = nn.ModuleList([nn.ConvTranspose2d(2 * n, n, 2, stride=2) for n in (128, 64, 32)])
        self.up = nn.ModuleList([Double(2 * n, n) for n in (128, 64, 32)])
        self.head = nn.Conv2d(32, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for level in self.down:
            x = level(x)
            skips.append(x)
            x = nn.functional.max_pool2d(x, 2)
        x = self.bottom(x)
        for wide, up, skip in zip(self.wide, self.up, reversed(skips), strict=True):
            x = up(torch.cat([skip, wide(x)], dim=1))
        head: torch.Tensor = self.head(x)
        return head


class Block(nn.Module):
    """Attention and two products, each behind a norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.before, self.between = heads, nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        parts = self.qkv(self.before(x)).reshape(batch, length, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.mlp(self.between(x))


class Transformer(nn.Module):
    """Patches of a picture through four blocks."""

    def __init__(self, width: int = 256, patch: int = 16) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.places = nn.Parameter(torch.zeros(1, (224 // patch) ** 2, width))
        self.blocks = nn.Sequential(*(Block(width, 4) for _ in range(4)))
        self.head = nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.places
        head: torch.Tensor = self.head(self.blocks(x).mean(1))
        return head


class Tagger(nn.Module):
    """Words through two recurrent layers, a class for each."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.LSTM(128, 256, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(512, 20)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        head: torch.Tensor = self.head(self.recurrent(x)[0])
        return head


class Chain(nn.Sequential):
    """Sixteen equal layers."""

    def __init__(self) -> None:
        super().__init__(*(nn.Sequential(nn.Linear(512, 512), nn.ReLU()) for _ in range(16)))


def _torchvision(name: str, **settings: Any) -> Callable[[], nn.Module]:
    return lambda: torchvision.models.get_model(name, weights=None, **settings)


PICTURE = (3, 224, 224)
MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "alexnet": (_torchvision("alexnet"), PICTURE),
    "densenet121": (_torchvision("densenet121"), PICTURE),
    "efficientnet_b0": (_torchvision("efficientnet_b0"), PICTURE),
    "googlenet": (_torchvision("googlenet", aux_logits=False, init_weights=False), PICTURE),
    "mlp": (Mlp, (784,)),
    "inception_v3": (_torchvision("inception_v3", aux_logits=False, init_weights=False), (3, 299, 299)),
    "mnasnet0_5": (_torchvision("mnasnet0_5"), PICTURE),
    "mobilenet_v2": (_torchvision("mobilenet_v2"), PICTURE),
    "mobilenet_v3_small": (_torchvision("mobilenet_v3_small"), PICTURE),
    "regnet_y_400mf": (_torchvision("regnet_y_400mf"), PICTURE),
    "resnet18": (_torchvision("resnet18"), PICTURE),
    "resnet50": (_torchvision("resnet50"), PICTURE),
    "shufflenet_v2_x1_0": (_torchvision("shufflenet_v2_x1_0"), PICTURE),
    "squeezenet1_1": (_torchvision("squeezenet1_1"), PICTURE),
    "tagger": (Tagger, (100, 128)),
    "transformer": (Transformer, PICTURE),
    "unet": (UNet, (3, 128, 128)),
    "vgg11": (_torchvision("vgg11"), PICTURE),
    "vit_b_32": (_torchvision("vit_b_32"), PICTURE),
    "chain": (Chain, (64, 512)),
    "convnext_tiny": (_torchvision("convnext_tiny"), PICTURE),
}


class Checkpointed(nn.Module):
    """A sequence in four segments, of which all but the last are run again."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = checkpoint_sequential(self.layers, 4, x, use_reentrant=False)
        return answer


def _frozen(model: nn.Module, *prefixes: str) -> nn.Module:
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(prefixes))
    return model


VARIANTS: dict[str, tuple[str, dict[str, Any], Callable[[nn.Module], nn.Module]]] = {
    "chain, checkpoints": ("chain", {"checkpoint": "4"}, Checkpointed),
    "resnet18, stem frozen": (
        "resnet18",
        {"freeze": ["conv1.*", "bn1.*", "layer1.*"]},
        lambda model: _frozen(model, "conv1.", "bn1.", "layer1."),
    ),
    "vgg11, features frozen": (
        "vgg11",
        {"freeze": ["features.*"]},
        lambda model: _frozen(model, "features."),
    ),
    "transformer, blocks frozen": (
        "transformer",
        {"freeze": ["blocks.*"]},
        lambda model: _frozen(model, "blocks."),
    ),
}
"""What a model is turned into before it is measured, and the options that say so."""


def step(model: nn.Module, x: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
    """One step, as a training loop has it: what the model answered is held to the end."""
    answer = model(x)
    answer.sum().backward()
    optimizer.step()


def events(profile: Any) -> Iterator[tuple[int, int]]:
    """Every allocation (bytes above zero) and release (below) that a profile recorded, as (time, bytes)."""
    found: list[tuple[int, int]] = []
    pending = list(profile.profiler.kineto_results.experimental_event_tree())
    while pending:
        event = pending.pop()
        pending.extend(event.children)
        if event.tag.name == "Allocation":
            found.append((event.start_time_ns, event.extra_fields.alloc_size))
    yield from sorted(found)


def measured(
    name: str, batch: int, optimizer_name: str, turned: Callable[[nn.Module], nn.Module] = lambda model: model
) -> dict[str, int]:
    """Bytes before the third step, and the most during it."""
    torch.manual_seed(0)
    make, shape = MODELS[name]
    model = turned(make().train())
    optimizer = OPTIMIZERS[optimizer_name]([p for p in model.parameters() if p.requires_grad])
    x = torch.rand(batch, *shape)
    for _ in range(2):
        step(model, x, optimizer)
        optimizer.zero_grad()
    with torch.profiler.profile(
        profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]
    ) as profile:
        step(model, x, optimizer)
    state = [value for held in optimizer.state.values() for value in held.values() if torch.is_tensor(value)]
    standing = sum(t.untyped_storage().nbytes() for t in (*model.parameters(), *model.buffers(), x, *state))
    alive = most = 0
    for _, amount in events(profile):
        alive += amount
        most = max(most, alive)
    return {"standing_bytes": standing, "peak_bytes": standing + most}


def exported(name: str, place: Path) -> None:
    """A thin export in training mode, its batch free."""
    make, shape = MODELS[name]
    model, x, path = make().train(), torch.rand(2, *shape), place / f"{name}.onnx"
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (x,), str(path), dynamo=False, training=torch.onnx.TrainingMode.TRAINING, do_constant_folding=False,
            input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "batch"}}, opset_version=17,
        )  # fmt: skip
    path.write_bytes(strip(path.read_bytes()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", default=sorted(MODELS), help="which models; all unless said")
    asked = parser.parse_args()
    truth = json.loads(TRUTH.read_text()) if TRUTH.exists() else {"models": {}, "variants": {}}
    truth |= {
        "date": datetime.now(UTC).date().isoformat(),
        "command": "python bench/training_peak.py",
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "python": platform.python_version(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }
    for name in asked.models:
        exported(name, EXPORTS)
        truth["models"][name] = [
            {"batch": batch, "optimizer": optimizer, **measured(name, batch, optimizer)}
            for batch in BATCHES
            for optimizer in OPTIMIZERS
        ]
        print(name, *(f"{row['peak_bytes'] / 2**20:.1f}" for row in truth["models"][name]), file=sys.stderr)
    for told, (name, options, turned) in VARIANTS.items():
        if name in asked.models:
            truth["variants"][told] = [
                {"model": name, "options": options, "batch": batch, **measured(name, batch, "sgd", turned)}
                for batch in BATCHES
            ]
    TRUTH.write_text(json.dumps(truth, indent=1) + "\n")


if __name__ == "__main__":
    main()
