"""What the files around the code claim, checked against the code: build, container, documents, walls."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import onnx.defs
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PASSES = sorted((ROOT / "analyzer" / "passes").rglob("*.py"))
GENERATED = ROOT / "analyzer" / "wire" / "v1"
DOCUMENTS = [path for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md") if path.exists()]

needs_cli = pytest.mark.skipif(find_spec("analyzer.cli") is None, reason="no command line yet")
needs_wire = pytest.mark.skipif(not GENERATED.exists(), reason="nothing generated yet")


# ---- walls that import contracts cannot see


def op_types() -> set[str]:
    return {schema.name for schema in onnx.defs.get_all_schemas_with_history()}


def knowledge_of_ops(source: str) -> list[str]:
    """Each place where the source names an op type or asks for one."""
    names = op_types()
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in names:
            found.append(f"line {node.lineno}: {node.value!r}")
        if isinstance(node, ast.Attribute) and node.attr == "op_type":
            found.append(f"line {node.lineno}: .op_type")
    return found


@pytest.mark.parametrize("path", PASSES, ids=lambda path: path.stem)
def test_no_pass_knows_an_op(path: Path) -> None:
    """A pass reads facts. One that names an op type, or asks a node for its own, is missing a field of Facts."""
    assert knowledge_of_ops(path.read_text()) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("if node.op_type in kinds: ...", ["line 1: .op_type"]),
        ("kinds = {'Conv', 'weight'}", ["line 1: 'Conv'"]),
        ("match kind:\n  case 'Relu': ...", ["line 2: 'Relu'"]),
        ("'''Conv and Relu in prose are fine.'''", []),
    ],
)
def test_the_scan_for_ops_finds_what_it_should(source: str, found: list[str]) -> None:
    assert knowledge_of_ops(source) == found


# ---- the package


def lower_bound(distribution: str) -> Version:
    requirements = map(Requirement, PROJECT["dependencies"])
    (bound,) = (spec for r in requirements if r.name == distribution for spec in r.specifier)
    assert bound.operator == ">="
    return Version(bound.version)


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "analyzer" / "py.typed").exists()


def test_the_changelog_has_a_place_for_this_version() -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased" or headings[0] == PROJECT["version"]


@needs_wire
@pytest.mark.parametrize(
    ("file", "pattern", "distribution"),
    [
        ("analyzer_pb2.py", r"Protobuf Python Version: (\S+)", "protobuf"),
        ("analyzer_pb2_grpc.py", r"GRPC_GENERATED_VERSION = '(.+)'", "grpcio"),
    ],
)
def test_generated_code_runs_on_the_oldest_dependency(file: str, pattern: str, distribution: str) -> None:
    """Generated code refuses a run time older than its generator, so the generator must not outrun our bounds."""
    (generator,) = re.findall(pattern, (GENERATED / file).read_text())
    assert Version(generator) <= lower_bound(distribution)


@needs_wire
def test_generated_code_is_of_this_proto(tmp_path: Path) -> None:
    """`make proto` would change nothing."""
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    virtual = "analyzer/wire/v1"
    protoc = [sys.executable, "-m", "grpc_tools.protoc", "-I", f"{virtual}=proto/analyzer/v1", *outputs]
    path = f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {**os.environ, "PATH": path}
    subprocess.run([*protoc, f"{virtual}/analyzer.proto"], cwd=ROOT, env=environment, check=True)
    fresh = {file.name: file.read_text() for file in (tmp_path / virtual).iterdir()}
    assert fresh == {name: (GENERATED / name).read_text() for name in fresh}


# ---- the container


@cache
def compose_service() -> dict[str, Any]:
    compose: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    (service,) = compose["services"].values()
    return dict(service)


@cache
def dockerfile() -> dict[str, list[str]]:
    """Every instruction's arguments, in order, by instruction."""
    text = (ROOT / compose_service()["build"]["dockerfile"]).read_text().replace("\\\n", " ")
    found: dict[str, list[str]] = {}
    for instruction, arguments in re.findall(r"^([A-Z]+) +(.+)$", text, re.MULTILINE):
        found.setdefault(instruction, []).append(arguments)
    return found


def exec_form(arguments: str) -> list[str]:
    """The command in `CMD ["a", "b"]`, whatever flags stand before it."""
    words: list[str] = json.loads(arguments[arguments.index("[") :])
    return words


def test_compose_follows_the_specification() -> None:
    """There may be no Docker where tests run, so the published schema of Compose files is the judge."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(
        [*command, "docker-compose.yml"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_and_dockerfile_agree() -> None:
    service = compose_service()
    assert service["command"] == exec_form(dockerfile()["CMD"][-1])
    assert service["healthcheck"]["test"] == ["CMD", *exec_form(dockerfile()["HEALTHCHECK"][-1])]


def test_one_port_everywhere() -> None:
    service = compose_service()
    (exposed,) = dockerfile()["EXPOSE"]
    assert [published.rsplit(":", 1)[-1] for published in service["ports"]] == [exposed]
    assert service["command"][service["command"].index("--port") + 1] == exposed
    assert f"localhost:{exposed}" in service["healthcheck"]["test"]


def test_the_image_builds_from_files_that_are_there() -> None:
    """Whatever is copied exists, and .dockerignore, which shuts everything out, lets it in again."""
    let_in = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copied = [
        source
        for line in dockerfile()["COPY"]
        if not line.startswith("--from")
        for source in shlex.split(line)[:-1]
    ]
    assert sorted(copied) == sorted(let_in)
    assert [source for source in copied if not (ROOT / source).exists()] == []


def test_the_server_is_not_root_and_writes_to_tmp_only() -> None:
    assert dockerfile()["USER"][-1] not in ("root", "0")
    assert compose_service()["read_only"] is True
    assert [mount.split(":")[0] for mount in compose_service()["tmpfs"]] == ["/tmp"]


@needs_cli
@pytest.mark.parametrize("key", ["command", "healthcheck"])
def test_the_container_says_what_the_command_line_understands(key: str) -> None:
    value = compose_service()[key]
    command = value if key == "command" else value["test"][1:]
    assert command[0] in PROJECT["scripts"]
    assert understood(*command[1:])


# ---- the documents


@cache
def understood(*arguments: str) -> bool:
    """Does the command line know these arguments? Asking for help parses them and does nothing."""
    command = [str(BIN / "onnx-analyzer"), *arguments, "--help"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def code_in(path: Path) -> list[str]:
    """What stands in a Markdown file's fenced blocks, indented blocks and code spans, line by line."""
    text = path.read_text()
    fences = re.findall(r"^```.*?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^(?: {4}|\t)(.+)$", rest, re.MULTILINE)
    spans = re.findall(r"`([^`\n]+)`", rest)
    return "\n".join([*fences, *indented, *spans]).splitlines()


def words_after(command: str, path: Path) -> set[str]:
    """The first word that follows the command wherever the document's code calls it."""
    call = re.compile(rf"(?:^|[$|;&]\s*|/){command} +([a-z][a-z-]*)")
    return {word for line in code_in(path) for word in call.findall(line.strip())}


@cache
def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_targets_that_make_has(path: Path) -> None:
    assert words_after("make", path) - targets() == set()


@needs_cli
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_subcommands_that_exist(path: Path) -> None:
    assert {word for word in words_after("onnx-analyzer", path) if not understood(word)} == set()


def test_make_help_lists_every_target() -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    shown = subprocess.run(
        ["make", "help"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert set(re.findall(r"^  make ([a-z-]+)", shown.stdout, re.MULTILINE)) == targets()


def test_continuous_integration_runs_what_a_person_runs() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().rstrip().endswith("\nmake test")
