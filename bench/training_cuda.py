"""Training steps on a GPU: what PyTorch allocates and reserves at most. For a machine that has one.

    python bench/training_cuda.py            # every model; torch, torchvision and a CUDA device must be there
    python bench/training_cuda.py resnet18 unet --batches 1 8 32 --out resnet18.json

The models, optimizers and loss of `bench/training_peak.py`. The third step is measured, from after zero_grad() to the
end of step(): `torch.cuda.max_memory_allocated`, `max_memory_reserved`, and what the device as a whole has in use
afterwards, its context included. A batch that does not fit has nulls. `--device cpu` tries the script where there is
no GPU: all figures are then null.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import torch
import torchvision

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a script finds its own folder only
from bench.training_peak import MODELS, OPTIMIZERS, ROOT, step


def measured(name: str, batch: int, optimizer_name: str, device: str) -> dict[str, int | None]:
    """Bytes of the third step; nulls where there is no GPU, or where it did not fit."""
    make, shape = MODELS[name]
    on_gpu = device.startswith("cuda")
    try:
        model = make().train().to(device)
        optimizer = OPTIMIZERS[optimizer_name](model.parameters())
        x = torch.rand(batch, *shape, device=device)
        for _ in range(2):
            step(model, x, optimizer)
            optimizer.zero_grad()
        if on_gpu:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        step(model, x, optimizer)
    except torch.cuda.OutOfMemoryError:
        return dict.fromkeys(("allocated_bytes", "reserved_bytes", "device_bytes"))
    if not on_gpu:
        return dict.fromkeys(("allocated_bytes", "reserved_bytes", "device_bytes"))
    torch.cuda.synchronize()
    free, total = torch.cuda.mem_get_info()
    return {
        "allocated_bytes": torch.cuda.max_memory_allocated(),
        "reserved_bytes": torch.cuda.max_memory_reserved(),
        "device_bytes": total - free,
    }


def clean(measure: Callable[[], dict[str, int | None]]) -> dict[str, int | None]:
    """Measure, and leave nothing behind."""
    found = measure()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return found


def main() -> None:
    """Measure what the arguments name."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", default=sorted(MODELS), help="which models; all unless said")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4, 32])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "verification" / "training_cuda.json")
    asked = parser.parse_args()
    on_gpu = asked.device.startswith("cuda")
    if on_gpu and not torch.cuda.is_available():
        sys.exit("no CUDA device is here; --device cpu tries the script without one")
    truth = {
        "date": datetime.now(UTC).date().isoformat(),
        "command": "python bench/training_cuda.py " + " ".join(sys.argv[1:]),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "python": platform.python_version(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if on_gpu else None,
        "device": torch.cuda.get_device_name() if on_gpu else asked.device,
        "device_bytes": torch.cuda.get_device_properties(0).total_memory if on_gpu else None,
        "tf32": torch.backends.cuda.matmul.allow_tf32,
        "models": {},
    }
    for name in asked.models:
        truth["models"][name] = [
            {
                "batch": batch,
                "optimizer": optimizer,
                **clean(lambda: measured(name, batch, optimizer, asked.device)),  # noqa: B023  # called at once
            }
            for batch in asked.batches
            for optimizer in OPTIMIZERS
        ]
        asked.out.write_text(json.dumps(truth, indent=1) + "\n")
        print(name, file=sys.stderr)


if __name__ == "__main__":
    main()
