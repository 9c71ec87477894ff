"""A wrong prediction is caught: one of each kind is planted, and the verification says which."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from analyzer.cli import main
from analyzer.graph import Value
from analyzer.options import Options
from analyzer.passes.clipped.views import Seen
from analyzer.report import TensorRow
from analyzer.runtime import kernel
from analyzer.runtime.planner import Block, Outcome, Program
from analyzer.verify import Verification, Wanted, compare, subject, verify
from analyzer.verify.profile import Arena
from analyzer.verify.record import Section
from tests.conftest import shipped, text_model

NET = """g (float[1, 4, 40, 40] x) => (float[1, 4, 40, 40] y) <float[4, 4, 3, 3] w = ["location": "weights.bin"]> {
        [c] a = Conv <pads = [1, 1, 1, 1]> (x, w)
        [l] b = LRN <size = 3> (a)
        [s] d = Softmax <axis = 1> (b)
        [r] y = Relu (d)
    }"""
WANTED = Wanted(levels=("disable",))
WITH_FIELDS = msgspec.structs.replace(WANTED, fields=2)


@pytest.fixture(name="net")
def net_fixture(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(text_model(NET))
    return path


def off(found: Verification) -> set[str]:
    """The kinds of which something is off."""
    return {section.kind for section in found.sections if not section.within}


def test_nothing_is_off_where_nothing_was_planted(net: Path) -> None:
    """Every kind is compared, and passes."""
    found = verify(net, WITH_FIELDS)
    assert found.passed, found
    compared = {section.kind: section.compared for section in found.sections}
    assert compared.keys() == {"shape", "dtype", "scratch", "memory", "outputs", "field"}
    assert compared["shape"] == compared["dtype"] == compared["scratch"] == 4
    assert min(compared.values()) > 0


def plant_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    plant_row(monkeypatch, shape=(1, 4, 40, 41))


def plant_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    plant_row(monkeypatch, dtype="float16")


def plant_row(monkeypatch: pytest.MonkeyPatch, **wrong: object) -> None:
    real = vars(subject.Bound)["rows"].fget

    def rows(self: subject.Bound) -> dict[str, TensorRow]:
        found: dict[str, TensorRow] = real(self)
        return {**found, "b": msgspec.structs.replace(found["b"], **wrong)}

    monkeypatch.setattr(subject.Bound, "rows", property(rows))


def plant_scratch(monkeypatch: pytest.MonkeyPatch) -> None:
    real = subject.scratch
    monkeypatch.setattr("analyzer.verify.cpu.scratch", lambda program: {**real(program), "l": 1})


def plant_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that is thought to take a megabyte more."""
    entry = kernel._KERNELS["ai.onnx", "Relu"]
    wrong = msgspec.structs.replace(entry, usage=lambda _: kernel.Usage(scratch=((1 << 20,),)))
    monkeypatch.setitem(kernel._KERNELS, ("ai.onnx", "Relu"), wrong)


def plant_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """An optimised session whose numbers are not the model's."""
    real = compare.kept

    def kept(place: Path, prefix: str, names: tuple[str, ...]) -> dict[str, Value]:
        bias = 0 if prefix.startswith("plain") else 1
        return {name: values + bias for name, values in real(place, prefix, names).items()}

    monkeypatch.setattr(compare, "kept", kept)


def plant_field(monkeypatch: pytest.MonkeyPatch) -> None:
    """A field of one row too many."""
    real = Seen.at

    def at(self: Seen, position: dict[int, int]) -> tuple[int, int] | None:
        rows = real(self, position)
        return None if rows is None else (rows[0], rows[1] + 1)

    monkeypatch.setattr(Seen, "at", at)


PLANTS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], set[str]]] = {
    "shape": (plant_shape, {"shape"}),
    "dtype": (plant_dtype, {"dtype"}),
    "scratch": (plant_scratch, {"scratch"}),
    "memory": (plant_memory, {"memory", "scratch"}),
    "outputs": (plant_outputs, {"outputs"}),
    "field": (plant_field, {"field"}),
}


@pytest.mark.parametrize("kind", PLANTS)
def test_a_planted_wrong_prediction_is_caught(kind: str, net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing else is off."""
    plant, kinds = PLANTS[kind]
    plant(monkeypatch)
    assert off(verify(net, WITH_FIELDS if kind == "field" else WANTED)) == kinds


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("figure", compare.MEMORY)
def test_a_wrong_figure_of_the_arena_is_caught_by_itself(
    figure: str, sign: int, net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Base, peak and held each, a tenth too high or too low; of the three it is the only one that is off."""
    real = subject.Subject.forecast

    def forecast(*asked: Any) -> subject.Forecast | str:
        said = real(*asked)
        assert isinstance(said, subject.Forecast)
        wrong = round(getattr(said.arena, figure) * (1 + sign / 10)) + sign  # a base may be nothing
        arena = msgspec.structs.replace(said.arena, **{figure: wrong})
        return msgspec.structs.replace(said, arena=arena, least_peak_bytes=arena.peak_bytes)

    monkeypatch.setattr(subject.Subject, "forecast", forecast)
    (memory,) = (section for section in verify(net, WANTED).sections if not section.within)
    assert [one.name for one in memory.figures if not one.within] == [figure]


DOUBTS: dict[str, tuple[Outcome, bool, tuple[tuple[int, ...], ...] | None, str]] = {
    "none": (Outcome(1, 2, 3, 2, 2), True, (), ""),
    "orders": (Outcome(1, 2000, 3, 1500, 2), True, ((0,),), "peaks at 1,500"),
    "orders that nobody knows": (Outcome(1, 2, 3, 2, 2), False, None, "left to chance"),
    "sizes": (Outcome(1, 2, 3, 2, 2), False, (), "upper bounds"),
    "kernels": (Outcome(1, 2, 3, 2, 2, {("ai.onnx", "If"): 2}), True, (), "without 2 If"),
}


@pytest.mark.parametrize("what", DOUBTS)
def test_a_forecast_says_what_it_leaves_open(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that of a figure that is off the cause is known."""
    outcome, certain, orders, told = DOUBTS[what]
    monkeypatch.setattr(subject, "simulate", lambda _: outcome)
    said = subject.forecast(Program(Block((), (), (), {}, {}), "all", orders=orders), certain, True)
    assert isinstance(said, subject.Forecast)
    assert (told in said.note, bool(said.note)) == (True, bool(told))


@pytest.mark.parametrize(("tolerance", "status"), [("0.001", 1), ("1000", 0)])
def test_a_tolerance_is_a_flag(
    tolerance: str,
    status: int,
    net: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Beyond them the exit status is 1, and 0 within."""
    plant_memory(monkeypatch)
    monkeypatch.setattr(compare, "scratch", lambda *_: Section("scratch", 1))
    assert main(["verify", str(net), "--level", "disable", "--tolerance", f"memory={tolerance}"]) == status
    assert "peak" in capsys.readouterr().out


# ---- each comparison by itself

SECTION = Section("shape", 1)


def row(shape: tuple[int, ...] | None, exact: bool = True) -> TensorRow:
    return TensorRow("t", "activation", "float32", shape, None, exact)


@pytest.mark.parametrize(
    ("said", "real", "within", "agreed"),
    [
        (row((2, 3)), (2, 3), True, 1),
        (row((2, 3)), (2, 4), False, 0),
        (row((2, 3)), (2, 3, 1), False, 0),
        (row((9, 4), exact=False), (3, 4), True, 0),
        (row((9, 4), exact=False), (10, 4), False, 0),
        (row((9, 4), exact=False), (9,), False, 0),
        (row(()), (), True, 1),
    ],
)
def test_shapes_agree_or_lie_below_their_bound(
    said: TensorRow, real: tuple[int, ...], within: bool, agreed: int
) -> None:
    """An upper bound holds where no axis is longer, and does not count as agreed unless it is met."""
    found = compare.shapes({"t": said}, {"t": ("tensor(float)", real)}, SECTION)
    assert (found.within, found.agreed, found.compared) == (within, agreed, 1)


def test_what_was_not_predicted_is_said() -> None:
    """A shape that nobody knew is no error and no success."""
    found = compare.shapes({"t": row(None)}, {"t": ("tensor(float)", (1,))}, SECTION)
    assert (found.compared, found.within, found.unmeasured) == (0, True, "1 shapes were not predicted")


def test_every_element_type_is_known_by_both_names() -> None:
    """onnxruntime's word for each type leads to ours."""
    from analyzer.graph import DTYPE_NAMED

    words = {"bool", "int8", "uint16", "int64", "float16", "bfloat16", "string", "int4", "complex64"}
    assert {*compare._DTYPES.values(), *words} <= DTYPE_NAMED.keys()


@pytest.mark.parametrize(
    ("said", "real", "least", "within"),
    [
        (100, 100, None, True),
        (100, 101, None, True),
        (100, 103, None, False),
        (100, 80, None, False),
        (100, 80, 80, True),
        (100, 79, 90, False),
    ],
)
def test_a_peak_that_is_left_to_chance_has_a_range(
    said: int, real: int, least: int | None, within: bool
) -> None:
    """Between the best and the worst order all is right; one per cent beyond is wrong."""
    found = compare.memory(Arena(5, said, said), Arena(5, real, real), 0.015, SECTION, least=least)
    assert found.within == within


KINDS: dict[str, tuple[object, object, bool]] = {
    "equal": ([1.0, 2.0], [1.0, 2.0], True),
    "near": ([1.0, 200.0], [1.5, 200.0], True),
    "far": ([1.0, 2.0], [1.0, 2.5], False),
    "not finite on both sides": ([float("nan"), 2.0], [float("nan"), 2.0], True),
    "not finite on one": ([1.0, 2.0], [float("nan"), 2.0], False),
    "other shape": ([1.0], [1.0, 2.0], False),
    "flags": ([True, False], [True, True], False),
}


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_are_held_against_their_largest_number(kind: str) -> None:
    """A hundredth of it is forgiven."""
    one, other, within = KINDS[kind]
    found = compare.outputs(["y"], {"y": np.array(one)}, {"y": np.array(other)}, 0.01, SECTION)
    assert (found.within, found.compared) == (within, 1)


# ---- the command


def test_the_command_writes_json_that_can_be_read_back(net: Path, tmp_path: Path) -> None:
    """Every section, the machine, the date and the verdict."""
    out = tmp_path / "found.json"
    assert main(["verify", str(net), "--threads", "1,2", "--format", "json", "-o", str(out)]) == 0
    told = json.loads(out.read_bytes())
    assert told["passed"] is True
    found = msgspec.convert({key: value for key, value in told.items() if key != "passed"}, Verification)
    assert found.machine.processors > 0
    assert [section.threads for section in found.sections if section.kind == "memory"] == [1, 2]


def test_the_table_has_predicted_measured_and_difference(capsys: pytest.CaptureFixture[str]) -> None:
    """Of a shipped model at two batches."""
    main(["verify", str(shipped("lenet5")), "--batch", "1,8"])
    table = capsys.readouterr().out
    assert table.count("12 of 12 agree") == 6  # shapes, types and scratch, twice
    assert "predicted" in table
    assert "measured" in table


def test_without_onnxruntime_there_is_one_clear_line(
    net: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2, and how to get it."""
    monkeypatch.setattr("analyzer.verify.measure.find_spec", lambda _: None)
    assert main(["verify", str(net)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "onnx-analyzer[verify]" in line


def test_a_fixed_batch_is_said_and_no_failure(net: Path) -> None:
    """A batch that the file does not have was not measured."""
    (section,) = verify(net, Wanted(batches=(8,))).sections
    assert section.within
    assert section.unmeasured == "the batch is written in the file: 1"


def test_a_model_that_does_not_fit_is_not_run(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The static peak is held against the limit first."""
    monkeypatch.setattr("subprocess.Popen", None)
    limits = msgspec.structs.replace(Wanted().limits, memory_bytes=1000)
    (section,) = verify(net, Wanted(limits=limits)).sections
    assert "the limit is 1000 B" in (section.unmeasured or "")


def test_a_model_that_draws_numbers_is_not_compared_with_itself(tmp_path: Path) -> None:
    """Its outputs differ at each run, which is said."""
    path = tmp_path / "random.onnx"
    path.write_bytes(text_model("g () => (float[4] y) { y = RandomNormal <shape = [4]> () }"))
    (section,) = (section for section in verify(path, Wanted()).sections if section.kind == "outputs")
    assert (section.compared, "draws numbers" in (section.unmeasured or "")) == (0, True)


INPUTS = {
    "rows of a table": ("int64[2, 5] ids", "y = Gather (t, ids)", range(7)),
    "rows, cast first": ("int32[2, 5] ids", "i = Cast <to = 7> (ids) y = Gather (t, i)", range(7)),
    "a mask": ("int64[2, 5] attention_mask", "m = Cast <to = 1> (attention_mask) y = MatMul (m, u)", [1]),
    "flags": ("bool[2, 5] flags", "m = Cast <to = 1> (flags) y = MatMul (m, u)", [True]),
}
TABLES = 'float[7, 3] t = ["location": "weights.bin"], float[5, 3] u = ["location": "weights.bin"]'


@pytest.mark.parametrize("what", INPUTS)
def test_inputs_fit_what_reads_them(what: str, tmp_path: Path) -> None:
    """Integers that pick rows are below their number, masks are ones."""
    given, body, allowed = INPUTS[what]
    path, place = tmp_path / "model.onnx", tmp_path / "private"
    path.write_bytes(text_model(f"g ({given}) => (y) <{TABLES}> {{ {body} }}"))
    place.mkdir()
    bound = subject.Subject(path, place, Options()).at(None)
    assert not isinstance(bound, str)
    (feed,) = bound.feeds.values()
    assert set(np.load(place / feed.file).flat) <= set(allowed)
