"""Plans, devices and the roofline from outside: the command line and gRPC."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import grpc
import msgspec
import pytest

from analyzer import Options, analyze
from analyzer.cli import main
from analyzer.client import Client
from analyzer.devices import Device, devices, find
from analyzer.errors import BadOption
from analyzer.plan import Plan, plan
from analyzer.report import Report
from analyzer.wire import from_message, to_message
from analyzer.wire.v1 import analyzer_pb2
from analyzer.wire.v1.analyzer_pb2_grpc import AnalyzerServiceStub
from analyzer.workers import ANALYSIS
from tests.conftest import MODELS
from tests.doors.places import place
from tests.doors.test_wire import differences, info

LENET, VGG, RESNET = (str(MODELS / f"{name}.onnx") for name in ("lenet5", "vgg16", "resnet50"))
MINE = 'name = "mine"\nmemory_bytes = "2GiB"\ncontext_bytes = "300MiB"\n'


# ---- the command line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["plan", LENET], "--device --memory"),
        (["plan", LENET, "--device", "gtx980", "--memory", "1GiB"], "not allowed"),
        (["plan", LENET, "--device", "gtx981"], "did you mean GeForce GTX 980?"),
        (["plan", LENET, "--device", "v100"], "V100 SXM2 16GB"),
        (["plan", LENET, "--device", "nowhere.toml"], "nowhere.toml"),
        (["plan", LENET, "--memory", "12GB"], "GiB"),
        (["plan", LENET, "--memory", "much"], "'much'"),
        (["plan", LENET, "--memory", "-1"], "--memory"),
        (["plan", LENET, "--memory", "1GiB", "--target-batch", "0"], "from 1 up"),
        (["plan", LENET, "--memory", "1GiB", "--target-batch", "many"], "from 1 up"),
        (["plan", LENET, "--memory", "1GiB", "--dim", "batch=4"], "leave it out"),
        (["plan", LENET, "--memory", "1GiB", "--optimizer", "lion"], "adam"),
        (["plan", LENET, "--memory", "1GiB", "-o", "plan.pdf"], "--format"),
        (["plan", VGG, "--memory", "0.5GiB"], "the parameters alone take 528 MiB"),
        (["plan", VGG, "--memory", "0"], "the parameters alone"),
        (["analyze", LENET, "--device", "gtx981"], "GeForce GTX 980"),
    ],
)
def test_a_refusal_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert re.fullmatch(r"onnx-analyzer: [^\n]+\n", shown.err)
    assert says in shown.err


def test_that_nothing_fits_is_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    """Status 0, and what to try, each with its figure."""
    assert main(["plan", VGG, "--memory", "1GiB", "--optimizer", "adam", "--target-batch", "256"]) == 0
    shown = capsys.readouterr().out
    assert "training   does not fit, not even at batch 1" in shown
    assert (
        len(re.findall(r"^try .*: [\d.]+ [MG]iB.*: (?:fits|does not fit either)$", shown, re.MULTILINE)) >= 3
    )


def test_a_plan_says_what_there_is_to_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["plan", RESNET, "--device", "gtx980", "--optimizer", "momentum", "--target-batch", "256"]) == 0
    )
    shown = capsys.readouterr().out
    found = plan(RESNET, find("gtx980"), Options(optimizer="momentum"), target_batch=256)
    assert found.schedule is not None
    assert f" in {found.schedule.accumulation_steps} micro-batches of {found.schedule.micro_batch}" in shown
    assert f"{found.training.largest_batch:,}  " in shown
    assert "53 batch norms see the micro-batch" in shown
    assert "error signals" in shown


def test_json_is_the_plan_of_python(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", LENET, "--memory", "1GiB", "--target-batch", "1000", "--format", "json"]) == 0
    assert msgspec.json.decode(capsys.readouterr().out, type=Plan) == plan(LENET, 1 << 30, target_batch=1000)


def test_markdown_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", LENET, "--memory", "1GiB", "--format", "markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("### lenet5 in 1.00 GiB")
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1


def test_a_device_of_ones_own_from_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MINE)
    assert main(["plan", LENET, "--device", str(tmp_path / "mine.toml")]) == 0
    assert "mine, 2.00 GiB of which a context takes 300 MiB" in capsys.readouterr().out


def test_devices_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(devices()) + 1
    assert main(["devices", "--format", "json"]) == 0
    told = [msgspec.convert(row, Device) for row in json.loads(capsys.readouterr().out)]
    assert tuple(told) == devices()


def test_the_roofline_is_in_the_table_and_the_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", RESNET, "--device", "h100 sxm5"]) == 0
    assert re.search(r"^roofline .* a pass on H100 SXM5 80GB", capsys.readouterr().out, re.MULTILINE)
    assert main(["analyze", RESNET, "--device", "h100 sxm5", "--format", "json"]) == 0
    report = msgspec.json.decode(capsys.readouterr().out, type=Report)
    assert report == analyze(RESNET, Options(device=find("h100 sxm5")))


# ---- gRPC


def test_the_plan_and_its_message_have_the_same_fields() -> None:
    assert sorted(differences(info(Plan), analyzer_pb2.Plan.DESCRIPTOR)) == []


@pytest.mark.parametrize("name", [LENET, VGG])
def test_a_plan_comes_back_over_the_wire(name: str) -> None:
    """With a schedule, and with remedies instead of one."""
    found = plan(name, 1 << 30, Options(optimizer="adam"), target_batch=10**6)
    message = to_message(found)
    assert from_message(type(message).FromString(message.SerializeToString()), Plan) == found


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with place(analysis=ANALYSIS) as running:
        yield running.address


def test_a_server_plans_as_we_do_here(address: str) -> None:
    """By device, also one of the caller's own, and by bytes."""
    own = Device(name="mine", memory_bytes=1 << 31, context_bytes=1 << 28)
    options = Options(optimizer="momentum")
    with Client(address) as client:
        for memory in (find("gtx980"), own, 3 << 30):
            assert client.plan(RESNET, memory, options, target_batch=256) == plan(
                RESNET, memory, options, target_batch=256
            )


def test_a_servers_devices_are_those_of_the_list(address: str) -> None:
    with Client(address) as client:
        assert client.devices() == devices()
        assert client.analyze(LENET, Options(device=client.devices()[3])).roofline is not None


def test_a_servers_refusal_is_ours(address: str) -> None:
    with Client(address) as client:
        for model, memory, reason in ((VGG, 1 << 20, "PARAMETERS_DO_NOT_FIT"), (LENET, 1 << 30, "NO_BATCH")):
            with pytest.raises(BadOption) as caught:
                client.plan(model, memory, target_batch=0 if reason == "NO_BATCH" else None)
            assert caught.value.reason == reason


def test_a_plan_needs_a_memory(address: str) -> None:
    """A caller that names neither a device nor bytes is told so."""
    start = analyzer_pb2.PlanStart(options=analyzer_pb2.Options())
    requests = [
        analyzer_pb2.PlanModelRequest(start=start),
        analyzer_pb2.PlanModelRequest(chunk=Path(LENET).read_bytes()),
    ]
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as caught:
        list(AnalyzerServiceStub(channel).PlanModel(iter(requests)))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "device" in (caught.value.details() or "")


def test_the_command_plans_remotely(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [LENET, "--device", "k20", "--target-batch", "64", "--format", "json"]
    assert main(["plan", *arguments]) == 0
    here = capsys.readouterr().out
    assert main(["remote", "--address", address, "plan", *arguments]) == 0
    assert capsys.readouterr().out == here
