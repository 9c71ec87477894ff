"""Reports as people see them. The golden files are part of the review: GOLDEN=update pytest tests/test_render.py."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from analyzer.analysis import analyze
from analyzer.render import FORMS, SUFFIXES, form_of, render, scopes, table
from analyzer.render.stages import Stage, gather
from analyzer.report import (
    FieldRow,
    FieldStatus,
    InferenceMemory,
    LiveTensor,
    LocalField,
    Memory,
    Metric,
    ModelInfo,
    NodeRow,
    Report,
    Role,
    Status,
    TensorRow,
    Totals,
    TrainingMemory,
    Warning,
)

GOLDEN = Path(__file__).parent / "golden"
SHIPPED = sorted((Path(__file__).parent.parent / "models").glob("*.onnx"))


class Draft:
    """A report drawn by hand, a node at a time."""

    def __init__(self, name: str, input: str, shape: tuple[int, ...]) -> None:
        self.name, self.nodes, self.fields = name, list[NodeRow](), list[FieldRow]()
        self.tensors = [TensorRow(input, "input", "float32", shape, None)]
        self.warnings: list[Warning] = []

    def tensor(self, name: str, role: Role, shape: tuple[int, ...] | None) -> None:
        self.tensors.append(TensorRow(name, role, "float32", shape, None))

    def node(
        self,
        name: str,
        op_type: str,
        shape: tuple[int, ...] | None,
        *,
        weight: tuple[str, tuple[int, ...]] | None = None,
        macs: int | None = 0,
        parameters: int = 0,
        bytes: int | None = 0,
        role: Role = "activation",
        field: tuple[int, str] | FieldStatus = "none",
        without: LocalField | None = None,
        status: Status = "complete",
        repeat: int | None = 1,
    ) -> None:
        output = f"{name}_out"
        flowing = next(row.name for row in reversed(self.tensors) if row.role != "weight")
        inputs = (flowing,) if weight is None else (flowing, weight[0])
        if weight is not None:
            self.tensor(weight[0], "weight", weight[1])
        self.tensor(output, role, shape)
        self.nodes.append(
            NodeRow(
                name=name,
                op_type=op_type,
                domain="ai.onnx",
                inputs=inputs,
                outputs=(output,),
                repeat=repeat,
                status=status,
                macs=macs,
                elementwise_flops=0,
                flops=None if macs is None else 2 * macs,
                parameters=parameters,
                output_bytes=bytes,
                lowering_bytes=0,
                saved_bytes=0,
            )
        )
        for axis in (2, 3) if field != "none" else ():
            first = self.tensors[0].name
            if isinstance(field, tuple):
                size, stride = field
                row = FieldRow(output, first, axis, "local", size=size, stride=stride, padding=size // 2)
            else:
                row = FieldRow(output, first, axis, field, without_global=without)
            self.fields.append(row)

    def report(self, **totals: Metric) -> Report:
        """Totals are the sums, save those given."""

        def total(values: Iterable[int | None]) -> Metric:
            listed = list(values)
            return Metric(sum(value or 0 for value in listed), "partial" if None in listed else "complete")

        def times(node: NodeRow, value: int | None) -> int | None:
            return None if value is None or node.repeat is None else value * node.repeat

        nodes = self.nodes
        parameters = total(node.parameters for node in nodes)
        outputs = total(times(node, node.output_bytes) for node in nodes)
        macs = total(times(node, node.macs) for node in nodes)
        sums = {
            "nodes": total(node.repeat for node in nodes),
            "parameters": parameters,
            "parameter_bytes": Metric(4 * (parameters.known or 0), "complete"),
            "buffers": Metric(0, "complete"),
            "outputs_bytes": outputs,
            "macs": macs,
            "elementwise_flops": Metric(0, "complete"),
            "flops": Metric(2 * (macs.known or 0), macs.status),
        } | totals
        held = 4 * (parameters.known or 0)
        inference = InferenceMemory(
            parameter_bytes=held,
            outputs_bytes=outputs.known,
            lecture_bytes=held + (outputs.known or 0),
            peak_live_bytes=None,
            peak_node=None,
            live_at_peak=(),
            arena_bytes=None,
            status=outputs.status,
        )
        training = TrainingMemory(
            batch=None,
            optimizer="sgd",
            parameter_bytes=held,
            gradient_bytes=held,
            optimizer_bytes=0,
            saved_bytes=None,
            error_signal_bytes=None,
            lecture_bytes=None,
            peak_bytes=None,
            status="partial",
        )
        return Report(
            schema_version=1,
            model=ModelInfo(self.name, "0" * 64, 2048, 8, {"ai.onnx": 17}, "by hand"),
            dims={},
            warnings=tuple(self.warnings),
            totals=Totals(**sums),
            nodes=tuple(nodes),
            tensors=tuple(self.tensors),
            memory=Memory(inference, training),
            receptive_fields=tuple(self.fields),
            depth=None,
        )


def convnet() -> Report:
    """All that a table shows: a stem, stages, a gate that makes the field global, a head, weights in the graph."""
    draft = Draft("convnet", "image", (1, 3, 32, 32))
    draft.node("filled", "ConstantOfShape", (8, 3, 3, 3), role="weight")
    conv = ("conv1.weight", (8, 3, 3, 3))
    draft.node(
        "conv1",
        "Conv",
        (1, 8, 32, 32),
        weight=conv,
        macs=221_184,
        parameters=216,
        bytes=32768,
        field=(3, "1"),
    )
    draft.node("relu1", "Relu", (1, 8, 32, 32), bytes=32768, field=(3, "1"))
    draft.node("pool1", "MaxPool", (1, 8, 16, 16), bytes=8192, field=(4, "2"))
    for block in (0, 1):
        size = 8 + 4 * block
        place = f"/stage1/stage1.{block}"
        weight = (f"{place}.weight", (8, 8, 3, 3))
        draft.node(
            f"{place}/conv/Conv",
            "Conv",
            (1, 8, 16, 16),
            weight=weight,
            macs=147_456,
            parameters=576,
            bytes=8192,
            field=(size, "2"),
        )
        draft.node(f"{place}/Relu", "Relu", (1, 8, 16, 16), bytes=8192, field=(size, "2"))
    draft.node(
        "/gate/Gate", "Mul", (1, 8, 16, 16), bytes=8192, field="global", without=LocalField(12, "2", 5)
    )
    weight = ("stage2.weight", (16, 8, 3, 3))
    draft.node(
        "/stage2/Conv",
        "Conv",
        (1, 16, 8, 8),
        weight=weight,
        macs=73_728,
        parameters=1152,
        bytes=4096,
        field="global",
        without=LocalField(16, "4", 7),
    )
    draft.node("/Pool", "GlobalAveragePool", (1, 16, 1, 1), bytes=64, field="global")
    draft.node("/Flatten", "Flatten", (1, 16), field="global")
    draft.node(
        "/fc/Gemm",
        "Gemm",
        (1, 10),
        weight=("fc.weight", (10, 16)),
        macs=160,
        parameters=170,
        bytes=40,
        role="output",
    )
    report = draft.report()
    inference = msgspec.structs.replace(
        report.memory.inference,
        peak_live_bytes=65536,
        peak_node="relu1",
        live_at_peak=(LiveTensor("conv1_out", 32768), LiveTensor("relu1_out", 32768)),
    )
    training = msgspec.structs.replace(
        report.memory.training,
        batch=1,
        saved_bytes=50_000,
        error_signal_bytes=60_000,
        lecture_bytes=200_000,
        status="complete",
    )
    return msgspec.structs.replace(
        report,
        memory=Memory(inference, training),
        depth=5,
        dims={"batch": 1, "width": 32},
        warnings=(Warning("ASSUMED_DIM", "free dimension 'batch' was not given and is taken as 1"),),
    )


def unknowns() -> Report:
    """A node without a rule: what follows has no size, and nothing of it may read as zero."""
    draft = Draft("half | known\x1b[31m", "x", (1, 3, 8, 8))
    weight = ("a.weight", (4, 3, 1, 1))
    draft.node(
        "/a/Conv", "Conv", (1, 4, 8, 8), weight=weight, macs=768, parameters=12, bytes=1024, field=(1, "1")
    )
    draft.node("/b/Mystery", "Mystery", None, macs=None, bytes=None, status="unavailable", field="opaque")
    weight = ("c.weight", (4, 4, 1, 1))
    draft.node(
        "/c/Conv",
        "Conv",
        None,
        weight=weight,
        macs=None,
        parameters=16,
        bytes=None,
        status="partial",
        field="opaque",
    )
    draft.warnings = [Warning("NO_RULE", "no rule for Mystery", name) for name in ("/b/Mystery", "/b/More")]
    return draft.report()


def blocks(number: int = 12) -> Report:
    """A transformer of equal blocks: a person draws one block and how many there are."""
    draft = Draft("blocks", "tokens", (1, 16, 32))
    for block in range(number):
        for part, macs in (("attention", 65_536), ("mlp", 131_072)):
            place = f"/layers.{block}/{part}"
            weight = (f"{place}.weight", (32, macs // 512))
            draft.node(
                f"{place}/MatMul",
                "MatMul",
                (1, 16, 32),
                weight=weight,
                macs=macs,
                parameters=macs // 16,
                bytes=2048,
            )
            draft.node(f"{place}/Add", "Add", (1, 16, 32), bytes=2048)
    return draft.report()


DRAWN = {"convnet": convnet, "unknowns": unknowns, "blocks": blocks}


def real() -> dict[str, Any]:
    return {path.stem: (lambda path=path: analyze(path)) for path in SHIPPED}


REPORTS = DRAWN | real()


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize(("form", "ending"), [("table", "txt"), ("markdown", "md")])
def test_golden(name: str, form: str, ending: str) -> None:
    golden = GOLDEN / f"{name}.{ending}"
    shown = render(DRAWN[name](), form)
    if os.environ.get("GOLDEN") == "update":
        golden.write_text(shown, encoding="utf-8")
    assert shown == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", REPORTS)
def test_rows_add_up_to_the_totals(name: str) -> None:
    """Whatever is merged, nothing is lost: not a node, not a byte."""
    report = REPORTS[name]()
    costs = [stage.cost for stage in gather(report)]
    assert sum(cost.nodes for cost in costs) == report.totals.nodes.known
    assert sum(cost.parameters.known for cost in costs) == report.totals.parameters.known
    assert sum(cost.macs.known for cost in costs) == report.totals.macs.known
    assert sum(cost.output_bytes.known for cost in costs) == report.totals.outputs_bytes.known
    for cost in costs:
        assert not cost.ops or sum(number for _, number in cost.ops) == cost.nodes


@pytest.mark.parametrize("name", REPORTS)
def test_a_model_fits_a_screen(name: str) -> None:
    report = REPORTS[name]()
    assert len(gather(report)) <= 27  # two more for constants and what is elsewhere
    for width in (80, 100, 120):
        for line in table.render(report, width).splitlines():
            assert len(line) <= width, line


@pytest.mark.parametrize("name", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_model_leaves_nothing_over(name: Path) -> None:
    assert "(elsewhere)" not in [stage.name for stage in gather(analyze(name))]


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("resnet50", "conv1 layer1 layer2 layer3 layer4 fc"),
        ("resnet152", "conv1 layer1 layer2 layer3 layer4 fc"),
        ("vgg16", "conv1 conv2 conv3 conv4 conv5 MaxPool fc6 fc7 fc8"),
        ("unet", "down1 down2 down3 down4 bottom up4 up3 up2 up1 head"),
        ("lenet5", "c1 MaxPool c3 MaxPool c5 f6 output"),
        ("alexnet", "conv1 conv2 conv3 conv4 conv5 MaxPool fc6 fc7 fc8"),
    ],
)
def test_stages_are_those_of_the_papers(model: str, names: str) -> None:
    stages = gather(REPORTS[model]())
    assert [stage.name for stage in stages if not stage.name.startswith("(")] == names.split()


def test_googlenet_has_its_nine_modules() -> None:
    names = [stage.name for stage in gather(REPORTS["googlenet"]())]
    assert [name[-2:] for name in names if "inception" in name] == [
        "3a",
        "3b",
        "4a",
        "4b",
        "4c",
        "4d",
        "4e",
        "5a",
        "5b",
    ]


def test_equal_blocks_are_drawn_once_part_by_part() -> None:
    stages = gather(blocks())
    assert [(stage.name, stage.cost.nodes) for stage in stages] == [
        ("layers.0-11/attention", 24),
        ("layers.0-11/mlp", 24),
    ]


def test_a_hundred_places_become_a_screen_of_rows() -> None:
    draft = Draft("long", "x", (1, 4, 8, 8))
    for place in range(100):
        weight = (f"w{place}.weight", (4, 4, 1, 1))
        draft.node(f"/place{place}/Conv", "Conv", (1, 4, 8, 8), weight=weight, macs=place + 1, parameters=16)
    stages = gather(draft.report())
    assert len(stages) == 25
    assert sum(stage.cost.nodes for stage in stages) == 100


def named(*nodes: tuple[str, str, str]) -> list[Stage]:
    """Stages of convolutions of one size, given the names of node, op and weight."""
    draft = Draft("named", "x", (1, 4, 8, 8))
    for name, op_type, weight in nodes:
        told = (weight, (4, 4, 1, 1)) if weight else None
        draft.node(
            name, op_type, (1, 4, 8, 8), weight=told, macs=10 if told else 0, parameters=16 if told else 0
        )
    return gather(draft.report())


@pytest.mark.parametrize(
    ("nodes", "names"),
    [
        (
            [
                ("/a/a.0/Conv", "Conv", "w"),
                ("/a/a.1/Conv", "Conv", "v"),
                ("/b/b.0/Conv", "Conv", "u"),
                ("/b/b.1/Conv", "Conv", "t"),
            ],
            ["a", "b"],
        ),
        ([("a.0.conv1", "Conv", "w"), ("a.0.relu", "Relu", ""), ("b.conv", "Conv", "v")], ["a", "b"]),
        (
            [("p_3a/1x1", "Conv", "w"), ("p_3a/cat", "Concat", ""), ("p_3b/1x1", "Conv", "v")],
            ["p_3a", "p_3b"],
        ),
        (
            [("n0", "Conv", "g/res2_0_a_w_0"), ("n1", "Relu", ""), ("n2", "Conv", "g/res3_0_a_w_0")],
            ["res2", "res3"],
        ),
        (
            [("node_Conv_7", "Conv", "l1.0.weight"), ("node_relu", "Relu", ""), ("n", "Conv", "l2.0.weight")],
            ["l1", "l2"],
        ),
        (
            [("Conv_0", "Conv", "onnx::Conv_1"), ("Relu_1", "Relu", ""), ("Conv_2", "Conv", "onnx::Conv_2")],
            ["Conv..Relu"],
        ),
    ],
)
def test_scopes_are_read_from_any_dialect(nodes: list[tuple[str, str, str]], names: list[str]) -> None:
    assert [stage.name for stage in named(*nodes)] == names


@pytest.mark.parametrize(
    ("name", "op_type", "place"),
    [
        ("/layer1/layer1.0/conv1/Conv", "Conv", "layer1.0/conv1"),
        ("/layers.3/relu/Relu_2", "Relu", "layers.3/relu"),
        ("inception_3a/3x3", "Conv", "inception_3a/3x3"),
        ("layer1.0.conv1", "Conv", "layer1.0.conv1"),
        ("/layer1/Conv_quant", "QLinearConv", "layer1"),
        ("/Relu", "Relu", None),
        ("Conv_12", "Conv", None),
        ("", "Conv", None),
    ],
)
def test_a_path_tells_its_place(name: str, op_type: str, place: str | None) -> None:
    told = scopes.of_node(name, op_type)
    assert (None if told is None else scopes.spell(told)) == place


def test_names_from_a_model_cannot_move_the_cursor_or_break_a_row() -> None:
    for form in ("table", "markdown"):
        shown = render(unknowns(), form)
        assert "\x1b" not in shown
        assert "\\x1b" in shown
    rows = [line for line in render(unknowns(), "markdown").splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {9}


def test_a_repeated_body_counts_as_often_as_it_runs() -> None:
    draft = Draft("loop", "x", (1, 4, 8, 8))
    weight = ("w.weight", (4, 4, 1, 1))
    draft.node("/loop/Conv", "Conv", (1, 4, 8, 8), weight=weight, macs=10, parameters=16, bytes=4, repeat=5)
    (stage,) = gather(draft.report())
    assert (stage.cost.nodes, stage.cost.macs.known, stage.cost.parameters.known) == (5, 50, 16)


def test_what_no_row_owns_has_a_row() -> None:
    draft = Draft("more", "x", (1, 4, 8, 8))
    draft.node("/a/Conv", "Conv", (1, 4, 8, 8), weight=("a.weight", (4, 4, 1, 1)), macs=10, parameters=16)
    rest = gather(draft.report(parameters=Metric(20, "complete")))[-1]
    assert (rest.name, rest.cost.parameters.known, rest.cost.macs.known) == ("(elsewhere)", 4, 0)


def test_branches_that_no_total_counts_are_taken_off() -> None:
    draft = Draft("branches", "x", (1, 4, 8, 8))
    for branch, macs in (("then", 10), ("else", 7)):
        weight = (f"{branch}.weight", (4, 4, 1, 1))
        draft.node(f"/{branch}/Conv", "Conv", (1, 4, 8, 8), weight=weight, macs=macs)
    taken = draft.report(macs=Metric(10, "complete"), nodes=Metric(1, "complete"))
    rest = gather(taken)[-1]
    assert (rest.name, rest.cost.nodes, rest.cost.macs.known) == ("(not taken)", -1, -7)


def test_a_model_without_nodes_is_shown() -> None:
    assert "total" in render(Draft("empty", "x", (1,)).report())


@pytest.mark.parametrize("name", REPORTS)
def test_json_is_the_report(name: str) -> None:
    report = REPORTS[name]()
    text = render(report, "json")
    assert msgspec.json.decode(text, type=Report) == report
    assert list(json.loads(text)) == list(Report.__struct_fields__)


def test_json_has_a_line_for_each_row() -> None:
    report = convnet()
    lines = render(report, "json").splitlines()
    rows = len(report.nodes) + len(report.tensors) + len(report.receptive_fields) + len(report.warnings)
    assert sum(line.startswith("    {") for line in lines) == rows


def test_every_form_renders_and_is_asked_for_by_its_endings() -> None:
    for form in FORMS:
        assert render(convnet(), form).endswith("\n")
        assert {form_of(f"out{ending.upper()}") for ending in SUFFIXES[form]} == {form}
    assert form_of("out.bin") is None
