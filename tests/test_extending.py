"""Ops of a user's own: by a decorated function, and by an entry point of an installed package."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from analyzer import BadInput, Facts, Size, analyze, ops, rule
from analyzer.ops.rule import REGISTRY, find
from tests.conftest import ROOT, text_model

MODEL = """
<ir_version: 8, opset_import: ["": 17, "my.ops": 1]>
main (float[2, 8] x, float[1] k) => (float[2, 8] z) { y = my.ops.Scale <power = 3> (x, k)  z = Relu(y) }
"""
RULE = """
from analyzer import Facts, Size, rule

@rule("Scale", domain="my.ops")
def scale(x: Size, factor: Size, *, power: int = 1) -> Facts:
    return Facts(Size(x.shape, x.dtype), elementwise=power * x.count)
"""


@pytest.fixture(autouse=True)
def _registry_as_it_was() -> Iterator[None]:
    before = {key: list(rules) for key, rules in REGISTRY.items()}
    yield
    REGISTRY.clear()
    REGISTRY.update(before)
    rule("", domain="nobody")(lambda: Facts(None))  # any registration forgets what was found
    del REGISTRY["nobody", ""]


def test_without_a_rule_nothing_is_claimed() -> None:
    """An unknown op is named, and what follows from it is unknown."""
    report = analyze(text_model(MODEL))
    assert [warning.reason for warning in report.warnings] == ["NO_RULE"]
    assert report.totals.elementwise_flops.status == "partial"
    assert [node.elementwise_flops for node in report.nodes] == [None, None]


def test_a_decorated_function_is_a_rule() -> None:
    """Three steps for each of 2 * 8 elements, and one for each in the Relu behind it."""

    @rule("Scale", domain="my.ops")
    def scale(x: Size, factor: Size, *, power: int = 1) -> Facts:
        return Facts(Size(x.shape, x.dtype), elementwise=power * x.count)

    report = analyze(text_model(MODEL))
    assert [node.elementwise_flops for node in report.nodes] == [48, 16]
    assert report.totals.elementwise_flops.status == "complete"


def test_a_users_rule_outranks_ours() -> None:
    """Whoever registers last is asked."""

    @rule("Relu")
    def dear_relu(x: Size) -> Facts:
        return Facts(Size(x.shape, x.dtype), elementwise=100 * x.count)

    found = find("ai.onnx", "Relu", 17)
    assert found is not None
    assert found.function is dear_relu


def installed(folder: Path, module: str, source: str) -> Path:
    """A package as an installer would leave it: a module, and metadata with an entry point."""
    (folder / f"{module}.py").write_text(source)
    metadata = folder / f"{module}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{ops.GROUP}]\nmine = {module}\n")
    return folder


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    line = [sys.executable, "-c", "import sys; from analyzer.cli import main; sys.exit(main())", *arguments]
    return subprocess.run(line, capture_output=True, text=True, env=environment, check=False)


def test_an_installed_package_adds_ops(tmp_path: Path) -> None:
    """An entry point is enough: the command line knows the op, and lists it."""
    folder = installed(tmp_path, "scale_rules", RULE)
    (tmp_path / "model.onnx").write_bytes(text_model(MODEL))
    done = command(folder, "analyze", str(tmp_path / "model.onnx"), "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r'"elementwise_flops":\s*\{"known":64,"status":"complete"\}', done.stdout)
    assert re.search(r"^my\.ops +Scale", command(folder, "ops").stdout, re.MULTILINE)


def test_a_broken_package_is_one_clear_line(tmp_path: Path) -> None:
    """A stranger's module that fails is named; there is no traceback."""
    folder = installed(tmp_path, "broken_rules", "raise RuntimeError('not today')")
    done = command(folder, "ops")
    assert done.returncode == 2
    assert done.stderr == (
        "onnx-analyzer: ops of the entry point 'mine' (broken_rules) cannot be read: RuntimeError: not today\n"
    )


def test_the_error_is_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In Python the same is an AnalyzerError with a stable reason."""
    installed(tmp_path, "bad_rules", "1 / 0")
    monkeypatch.syspath_prepend(str(tmp_path))
    ops.extend.cache_clear()
    with pytest.raises(BadInput, match="ZeroDivisionError") as caught:
        analyze(text_model(MODEL))
    assert caught.value.reason == "EXTENSION"
    monkeypatch.undo()
    ops.extend.cache_clear()
