"""The suite as others get it: a page that lists it all, files that they can read, headers that mean something."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from tests.conformance import suite


def test_the_readme_lists_every_graph() -> None:
    """As `python tests/conformance/suite.py OUT` writes it to OUT/graphs.md."""
    assert suite.index() in (suite.FOLDER / "README.md").read_text(encoding="utf-8")


def test_the_suite_can_be_written_out(tmp_path: Path) -> None:
    """By a script that needs neither the analyzer nor a runtime: models with their weights, expectations as JSON."""
    command = [sys.executable, str(suite.FOLDER / "suite.py"), str(tmp_path)]
    subprocess.run(command, check=True, timeout=60, cwd=tmp_path)
    told = json.loads((tmp_path / "expectations.json").read_text(encoding="utf-8"))
    for folder, cases in ((tmp_path, told["legal"]), (tmp_path / "invalid", told["invalid"])):
        assert sorted(path.stem for path in folder.glob("*.onnx")) == [case["name"] for case in cases]
    (loop,) = (case for case in told["legal"] if case["name"] == "loop_of_ten")
    assert loop["totals"]["macs"] == {
        "value": 327680,
        "complete": True,
        "derivation": "10 * (8 * 64 * 64)",
    }
    assert loop["tensors"] == {"y": {"dtype": "float32", "shape": [8, 64], "exact": True}}
    model = onnx.load(tmp_path / "loop_of_ten.onnx")
    assert len(model.graph.initializer[2].raw_data) == 4 * 64 * 64


@pytest.mark.parametrize("derivation", ["__import__('os')", "9 .__class__", "min(1, 2)", "[1][0]", "max"])
def test_a_derivation_is_arithmetic(derivation: str) -> None:
    """Headers are text from a file; nothing in them is run."""
    with pytest.raises((ValueError, TypeError)):
        suite.worth(derivation)


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("# One.\n# macs: 1", "ends with a paragraph"),
        ("# One.\n#\n# macs 1", "ends with a paragraph"),
        ("# One.\n#\n# mac: 1", "nothing is called 'mac'"),
        ("# One.\n#\n# macs: many", "no number"),
        ("# One.\n#\n# tensor y: 4 x 5", "no tensor"),
    ],
)
def test_a_header_that_means_nothing_is_an_error(header: str, told: str, tmp_path: Path) -> None:
    """Not an expectation less."""
    path = tmp_path / "one.onnxtxt"
    path.write_text(header + "\n<ir_version: 10>", encoding="utf-8")
    with pytest.raises(ValueError, match=told):
        suite.read(path)
