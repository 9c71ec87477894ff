"""Figures and pictures of docs/memory.md: python models/memory_page.py writes what stands between its markers.

ResNet-50 and UNet are shipped; DenseNet-121 comes with the onnx package; BERT-base is the shipped encoder at the sizes
of its paper.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import onnx

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from analyzer import Options, Report, analyze  # noqa: E402  # so that it runs as a script too
from analyzer.units import show_bytes  # noqa: E402
from models import transformer  # noqa: E402

PAGE = ROOT / "docs" / "memory.md"
SAVINGS = Options(details=("savings",))
COLUMNS, ROWS = 88, 4
LEVELS = " ▁▂▃▄▅▆▇█"


def shipped(name: str) -> Callable[[], Report]:
    return lambda: analyze(ROOT / "models" / f"{name}.onnx", SAVINGS)


def densenet() -> Report:
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    return analyze(folder / "light_densenet121.onnx", SAVINGS)


def bert(words: int = 128) -> Report:
    """Twelve layers of width 768, twelve heads, a vocabulary of 30,522 (Devlin et al. 2018)."""
    sizes = {"VOCABULARY": 30522, "WIDTH": 768, "HEADS": 12, "HEAD_WIDTH": 64, "LAYERS": 12}
    with mock.patch.dict(vars(transformer), sizes):
        model = transformer.tiny_transformer()
    return analyze(model.SerializeToString(), Options(dims={"batch": 1, "seq": words}, details=("savings",)))


SECTIONS: dict[str, Callable[[], Report]] = {
    "ResNet-50": shipped("resnet50"),
    "DenseNet-121": densenet,
    "UNet": shipped("unet"),
    "BERT": bert,
}


def block(report: Report) -> str:
    """A table of what is meant by memory, and the timeline."""
    memory = report.memory.inference
    peak, arena = memory.peak_live_bytes or 0, memory.arena_bytes or 0
    held = ", ".join(f"`{one.name}` {show_bytes(one.bytes)}" for one in memory.live_at_peak[:4])
    rows = [
        ("parameters", memory.parameter_bytes, ""),
        ("outputs of all nodes", memory.outputs_bytes, ""),
        ("the lecture's total", memory.lecture_bytes, "parameters + outputs"),
        ("most alive at once", peak, f"at `{memory.peak_node}`: {held}"),
        (
            "arena",
            arena,
            f"{100 * (arena / peak - 1):.1f}% above the peak" if arena > peak else "no more than that",
        ),
        *_lowering(report),
    ]
    table = [f"| {name} | {amount:,} | {show_bytes(amount)} | {told} |" for name, amount, told in rows]
    head = ["| | bytes | | |", "| --- | --: | --: | --- |"]
    return "\n".join([*head, *table, "", "```", *timeline(report), "```", "", *_savings(report)])


def timeline(report: Report) -> list[str]:
    """Bytes alive from the first node to the last, each column the most of its nodes; none that make only constants."""
    made = {tensor.name for tensor in report.tensors if tensor.role in ("activation", "output")}
    alive = [node.live_bytes or 0 for node in report.nodes if not made.isdisjoint(node.outputs)]
    columns = min(COLUMNS, len(alive))
    most = [
        max(alive[len(alive) * column // columns : len(alive) * (column + 1) // columns])
        for column in range(columns)
    ]
    eighths = [round(8 * ROWS * amount / max(alive)) for amount in most]
    lines = [
        "".join(LEVELS[max(0, min(8, height - 8 * row))] for height in eighths)
        for row in reversed(range(ROWS))
    ]
    return [line.rstrip() for line in lines]


def _lowering(report: Report) -> list[tuple[str, int | None, str]]:
    lowered = [node for node in report.nodes if node.lowering_bytes]
    if not lowered:
        return []
    node = max(lowered, key=lambda node: node.lowering_bytes or 0)
    told = f"`{node.name}`, [{node.lowering_rows} x {node.lowering_columns}]"
    tile = f"at most {show_bytes(node.lowering_tile_bytes)} in tiles"
    return [("largest im2col matrix", node.lowering_bytes, f"{told}; {tile}")]


def _savings(report: Report) -> list[str]:
    found = report.memory.inference.savings
    if found is None or found.order is None:
        return []
    order = found.order
    lower = f"Another order of its nodes peaks at {show_bytes(order.peak_live_bytes)}" if order.nodes else ""
    lines = [f"{lower or 'No order with a lower peak was found'}{'; none is lower' if order.proven else ''}."]
    if found.missed_inplace:
        one = found.missed_inplace[0]
        lines.append(f"`{one.result}` could lie over `{one.operand}` and may not: {show_bytes(one.bytes)}.")
    if found.waiting:
        first = found.waiting[0]
        lines.append(
            f"At the peak `{first.name}` waits longest: {show_bytes(first.bytes)} from `{first.since}` to "
            f"`{first.until}`, {first.steps} nodes."
        )
    return [" ".join(lines), ""]


def filled(page: str) -> str:
    """The page with what stands between its markers computed anew."""
    for name, made in SECTIONS.items():
        start, end = f"<!-- {name} -->\n", "<!-- end -->\n"
        before, rest = page.split(start)
        _, after = rest.split(end, 1)
        page = f"{before}{start}\n{block(made())}\n{end}{after}"
    return page


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
