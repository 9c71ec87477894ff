"""One model through every door: the four reports are one."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import msgspec
import pytest

from analyzer import Options, Report, analyze
from analyzer.batch import run
from analyzer.cli import main
from analyzer.client import Client
from analyzer.workers import ANALYSIS
from tests.conftest import MODELS
from tests.doors.places import place

OPTIONS = Options(dims={"batch": 3}, optimizer="adam", details=("arena_offsets", "savings"))
FLAGS = ["--dim", "batch=3", "--optimizer", "adam", "--detail", "arena_offsets", "--detail", "savings"]


def by_command(path: Path, out: Path) -> Report:
    assert main(["analyze", str(path), *FLAGS, "-o", str(out)]) == 0
    return msgspec.json.decode(out.read_bytes(), type=Report)


def by_grpc(path: Path) -> Report:
    with place(analysis=ANALYSIS) as running, Client(running.address) as client:
        return client.analyze(path, OPTIONS)


def by_pool(path: Path) -> Report:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        (outcome,) = run([str(path)], OPTIONS, pool)
    assert outcome.report is not None
    return outcome.report


@pytest.mark.parametrize("name", ["googlenet", "tiny_transformer"])
def test_every_door_gives_the_same_report(name: str, tmp_path: Path) -> None:
    """Python, the command line, gRPC and a process pool answer with reports that are equal, field by field."""
    path = MODELS / f"{name}.onnx"
    report = analyze(path, OPTIONS)
    assert report.dims["batch"] == 3
    assert report.memory.inference.arena_offsets
    assert report.memory.inference.savings is not None
    assert by_command(path, tmp_path / "report.json") == report
    assert by_grpc(path) == report
    assert by_pool(path) == report


def test_json_gives_back_what_to_dict_gives() -> None:
    """`to_dict` holds what a reader of the JSON would see: lists, no tuples."""
    report = analyze(MODELS / "lenet5.onnx", Options(dims={"batch": 1}))
    assert msgspec.json.decode(msgspec.json.encode(report)) == report.to_dict()
