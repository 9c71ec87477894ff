"""Plans: what fits is what was seen to fit, and the next batch was seen not to."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer import Options, analyze
from analyzer.devices import Device, find
from analyzer.errors import BadOption
from analyzer.plan import Plan, plan
from analyzer.plan.needs import needed, shares
from analyzer.plan.search import largest
from models import fits
from tests.conftest import MODELS, SHIPPED_MODELS, ZOO, text_model

MIB = 1 << 20
SMALL = (
    "lenet5",
    "alexnet",
    "vgg16",
    "googlenet",
    "resnet18",
    "resnet50",
    "unet",
    "tiny_transformer",
    "mobilenet_v2",
)
LENET = MODELS / "lenet5.onnx"


def takes(path: str, purpose: str, batch: int, **asked: object) -> int | None:
    """The same figure by way of `analyze`, the batch bound by its name."""
    report = analyze(path, Options(dims={"batch": batch}, **asked))  # type: ignore[arg-type]
    return needed(shares(report, purpose))  # type: ignore[arg-type]


def refused(path: Path, memory: int, options: Options) -> bool:
    """Whether the parameters alone are too large, and the plan says so."""
    stored = analyze(path, options).totals.parameter_bytes.known
    assert stored is not None
    if stored <= memory:
        return False
    with pytest.raises(BadOption, match="parameters alone"):
        plan(path, memory, options)
    return True


# ---- the search


@given(st.lists(st.integers(0, 50), min_size=2, max_size=200), st.integers(1, 3000))
def test_the_search_finds_what_a_scan_finds(steps: list[int], limit: int) -> None:
    """Any growing need, however crooked: the last batch within the limit."""
    needs = [1]
    for step in steps:
        needs.append(needs[-1] + step)
    beyond = needs[-1]

    def need(batch: int) -> int:
        return needs[batch] if batch < len(needs) else beyond + 100 * (batch - len(needs) + 1)

    found = largest(need, limit)
    scanned = 0
    while need(scanned + 1) <= limit:
        scanned += 1
    assert found == scanned


@pytest.mark.parametrize("limit", [10**6, 10**9, 10**12])
def test_a_straight_line_takes_few_evaluations(limit: int) -> None:
    """What grows evenly, as networks do, is found in a handful of analyses however large the answer."""
    asked: list[int] = []

    def need(batch: int) -> int:
        asked.append(batch)
        return 1000 + 7 * batch

    assert largest(need, limit) == (limit - 1000) // 7
    assert len(set(asked)) <= 6


def test_what_is_not_known_does_not_fit() -> None:
    assert largest(lambda batch: None if batch > 5 else batch, 100) == 5


# ---- tightness


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("memory", [300 * MIB, 4 << 30])
def test_the_answer_fits_and_the_next_does_not(name: str, memory: int) -> None:
    """By an analysis of its own, for running and for training; the parts add up to the whole."""
    path = MODELS / f"{name}.onnx"
    options = Options(optimizer="momentum")
    if refused(path, memory, options):
        return
    found = plan(path, memory, options)
    for purpose, fit in (("inference", found.inference), ("training", found.training)):
        assert fit.largest_batch is not None
        assert fit.needed_bytes == sum(share.bytes for share in fit.shares)
        if fit.largest_batch:
            assert fit.needed_bytes == takes(str(path), purpose, fit.largest_batch, optimizer="momentum")
            assert fit.needed_bytes <= memory
        following = takes(str(path), purpose, fit.largest_batch + 1, optimizer="momentum")
        assert fit.next_bytes == following
        assert following is not None
        assert following > memory


def zoo_pairs(number: int) -> list[tuple[str, int, str]]:
    """Random models of the zoo that are quick to read, each with a random memory."""
    dice = random.Random(20160419)
    names = sorted(path.stem for path in ZOO.glob("*.onnx") if path.stat().st_size < 60_000)
    return [
        (dice.choice(names), round(2 ** dice.uniform(24, 34)), dice.choice(["sgd", "momentum", "adam"]))
        for _ in range(number if names else 0)
    ]


@pytest.mark.parametrize(("name", "memory", "optimizer"), zoo_pairs(100))
def test_plans_of_real_exports_are_tight(name: str, memory: int, optimizer: str) -> None:
    """100 random pairs: where batches are free the next one is too large; else the file's fits or not."""
    options = Options(optimizer=optimizer)  # type: ignore[arg-type]
    if refused(ZOO / f"{name}.onnx", memory, options):
        return
    found = plan(ZOO / f"{name}.onnx", memory, options, target_batch=256)
    for fit in (found.inference, found.training):
        assert fit.largest_batch is not None
        assert fit.needed_bytes is not None
        assert (fit.needed_bytes <= memory) == (fit.largest_batch > 0)
        if found.batch.fixed is None:
            assert fit.next_bytes is not None
            assert fit.next_bytes > memory
        else:
            assert found.batch.reason
            assert fit.largest_batch in (0, found.batch.fixed)
    scheduled_whole(found, 256)


# ---- schedules


def scheduled_whole(found: Plan, target: int) -> None:
    """Micro-batches that fit, as few as can be, and together the batch that was asked for."""
    most, schedule = found.training.largest_batch, found.schedule
    assert most is not None
    if schedule is None:
        assert target > most  # beside the gradients of others not even one sample fits
        return
    assert schedule.micro_batch <= most
    assert schedule.needed_bytes <= found.usable_bytes
    if found.batch.fixed is None:
        assert (schedule.accumulation_steps == 1) == (target <= most)
    if found.batch.fixed is None:
        before = schedule.micro_batch * (schedule.accumulation_steps - 1)
        assert before + schedule.last_micro_batch == target
        assert 1 <= schedule.last_micro_batch <= schedule.micro_batch


@pytest.mark.parametrize("target", [1, 7, 64, 100, 256, 1000, 4097])
def test_a_schedule_makes_up_the_target(target: int) -> None:
    scheduled_whole(plan(MODELS / "resnet50.onnx", find("gtx980"), target_batch=target), target)


def test_gradients_stay_and_activations_shrink() -> None:
    """The gradient splitting trick: a micro-batch has the batch's parameters and gradients, and its own activations."""
    found = plan(MODELS / "vgg16.onnx", find("k20"), Options(optimizer="momentum"), target_batch=256)
    assert found.schedule is not None
    path = str(MODELS / "vgg16.onnx")
    micro = takes(path, "accumulating", found.schedule.micro_batch, optimizer="momentum")
    whole = takes(path, "training", 256, optimizer="momentum")
    assert micro == found.schedule.needed_bytes
    larger = -(-256 // (found.schedule.accumulation_steps - 1))
    assert (takes(path, "accumulating", larger, optimizer="momentum") or 0) > found.usable_bytes
    assert micro is not None
    assert whole is not None
    assert micro < whole
    parts = {share.kind: share.bytes for share in found.training.shares}
    assert parts["parameters"] == parts["gradients"] == parts["optimizer"] == 4 * 138_357_544


@pytest.mark.parametrize(("name", "norms"), [("resnet50", 53), ("vgg16", 0)])
def test_a_batch_norm_is_warned_of(name: str, norms: int) -> None:
    """Only where the batch is split, and only where the graph holds one."""
    for target, split in ((1, False), (1000, True)):
        found = plan(MODELS / f"{name}.onnx", 8 << 30, target_batch=target)
        told = [warning.message for warning in found.warnings if warning.reason == "BATCH_NORM"]
        assert bool(told) == (split and norms > 0)
        assert all(message.startswith(f"{norms} batch norms see the micro-batch") for message in told)


# ---- where the batch is


def graph(inputs: str, body: str) -> bytes:
    return text_model(f"g ({inputs}) => (float[M, 4] y) {{ {body} }}")


@pytest.mark.parametrize(
    ("inputs", "body", "places", "fixed"),
    [
        ("float[batch, 4] x", "y = Relu(x)", ("batch",), None),
        ("float[n, 4] x", "y = Relu(x)", ("n",), None),
        ("float[seq, batch_size, 4] x", "y = ReduceSum<noop_with_empty_axes = 1>(x)", ("batch_size",), None),
        ("float[rows, 4] x, float[lines, 4] z", "y = Relu(x)  w = Relu(z)", ("rows", "lines"), None),
        ("float[rows, 4] x, float[batch, 4] z", "y = Relu(x)  w = Relu(z)", ("batch",), None),
        ("float[1, 4] x", "y = Relu(x)", ("x[0]",), None),
        ("float[8, 4] x, float[8, 4] z", "y = Add(x, z)", ("x[0]", "z[0]"), None),
        ("float[8, 4] x, float[4] z", "y = Add(x, z)", ("x[0]",), None),
        ("float[1, 2, 2] x", "s = Constant<value_ints = [1, 4]>() y = Reshape(x, s)", ("x[0]",), 1),
        ("float[batch, 2, 2] x", "s = Constant<value_ints = [1, 4]>() y = Reshape(x, s)", ("batch",), 1),
        ("float[8, 2, 2] x", "s = Constant<value_ints = [8, 4]>() y = Reshape(x, s)", ("x[0]",), 8),
        ("float[1, 2, 2] x", "s = Constant<value_ints = [-1, 4]>() y = Reshape(x, s)", ("x[0]",), None),
        ("float[5, 4] x", "t = Transpose<perm = [1, 0]>(x) m = MatMul(x, t) y = MatMul(m, x)", ("x[0]",), 5),
        ("float[seq, 2, 2] x", "s = Constant<value_ints = [1, 4]>() y = Reshape(x, s)", ("seq",), 1),
        ("float x", "s = Constant<value_ints = [1, 4]>() y = Expand(x, s)", (), 1),
    ],
)  # fmt: skip
def test_where_the_batch_is(inputs: str, body: str, places: tuple[str, ...], fixed: int | None) -> None:
    """By name, else free first axes, else the file's number; a batch in a constant, or samples that mix, fix it."""
    found = plan(graph(inputs, body), 1 << 30)
    assert (found.batch.places, found.batch.fixed) == (places, fixed)
    assert (found.batch.reason is None) == (fixed is None)
    assert any(warning.reason == "BATCH_FIXED" for warning in found.warnings) == (fixed is not None)
    if fixed is not None:
        assert found.training.largest_batch == fixed


def test_a_batch_in_a_constant_is_seen_by_the_lenient_too() -> None:
    """A node that cannot run at another batch is no error for them, and still fixes it."""
    body = "s = Constant<value_ints = [1, 4]>() r = Relu(x) y = Reshape(r, s)"
    assert plan(graph("float[1, 2, 2] x", body), 1 << 30, Options(lenient=True)).batch.fixed == 1


def test_other_dimensions_stay_as_they_were_bound() -> None:
    """A shape that was given keeps its other axes, and longer sequences leave room for fewer samples."""
    path = MODELS / "tiny_transformer.onnx"
    short, long = (plan(path, 64 * MIB, Options(dims={"seq": size})).inference for size in (16, 64))
    assert short.largest_batch is not None
    assert long.largest_batch is not None
    assert short.largest_batch > long.largest_batch
    image = plan(MODELS / "unet.onnx", 1 << 30, Options(shapes={"image": (1, 1, 64, 64)}))
    assert image.batch.fixed is None
    assert image.inference.largest_batch


def test_the_batch_is_not_to_be_given() -> None:
    with pytest.raises(BadOption, match="leave it out") as caught:
        plan(LENET, 1 << 30, Options(dims={"batch": 4}))
    assert caught.value.reason == "BATCH_GIVEN"


# ---- memory


def test_more_memory_is_never_less_batch() -> None:
    found = [plan(LENET, size * MIB).training.largest_batch for size in (1, 2, 3, 5, 8, 13, 200)]
    assert found == sorted(found, key=lambda batch: batch or 0)


@pytest.mark.parametrize("peak", [1, 10**6, 10**9])
def test_where_a_peak_is_predicted_the_parts_make_it_up(peak: int) -> None:
    """A report that knows the peak of a step is taken at its word, whatever the parts would add up to."""
    report = analyze(LENET)
    memory = msgspec.structs.replace(report.memory.training, peak_bytes=peak)
    told = msgspec.structs.replace(report, memory=msgspec.structs.replace(report.memory, training=memory))
    assert needed(shares(told, "training")) == peak


def test_what_is_not_known_of_a_report_is_no_part() -> None:
    report = analyze(LENET, Options(passes=("cost",)))
    assert shares(report, "training") == shares(report, "inference") == ()
    assert needed(()) is None


def test_a_context_is_set_aside() -> None:
    """What a device's context takes is not there for tensors; where nobody knows it, that is said."""
    bare = Device(name="d", memory_bytes=64 * MIB, context_bytes=16 * MIB)
    assert plan(LENET, bare).inference == plan(LENET, 48 * MIB).inference
    assert [warning.reason for warning in plan(LENET, bare).warnings] == []
    unknown = plan(LENET, Device(name="d", memory_bytes=64 * MIB))
    assert [warning.reason for warning in unknown.warnings] == ["CONTEXT_UNKNOWN"]


def test_parameters_that_do_not_fit_are_refused() -> None:
    """528 MiB of VGG-16 in half a gibibyte."""
    with pytest.raises(BadOption, match="528 MiB, more than the 512 MiB") as caught:
        plan(MODELS / "vgg16.onnx", 512 * MIB)
    assert caught.value.reason == "PARAMETERS_DO_NOT_FIT"


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(BadOption, match="at least one sample"):
        plan(LENET, 1 << 30, target_batch=0)


def test_where_nothing_fits_there_is_something_to_try() -> None:
    """VGG-16 with adam in a gibibyte: each remedy needs less, by its own figure; a smaller optimizer's is a plan's."""
    path = MODELS / "vgg16.onnx"
    found = plan(path, 1 << 30, Options(optimizer="adam"), target_batch=256)
    assert found.training.largest_batch == 0
    assert found.schedule is None
    assert found.training.needed_bytes is not None
    by_measure = {remedy.measure: remedy for remedy in found.remedies}
    assert by_measure.keys() == {
        "momentum",
        "sgd",
        "frozen",
    }  # the peak is the optimizer's: less flow is no help
    for remedy in found.remedies:
        assert remedy.needed_bytes < found.training.needed_bytes
        assert remedy.fits == (remedy.needed_bytes <= found.usable_bytes)
    for optimizer in ("momentum", "sgd"):
        assert by_measure[optimizer].needed_bytes == takes(str(path), "training", 1, optimizer=optimizer)


def test_each_remedy_is_an_analysis() -> None:
    """What is said of checkpoints and of half precision is what `analyze` says with them."""
    path = MODELS / "resnet50.onnx"
    asked: dict[str, tuple[int, ...]] = {"image": (1, 3, 448, 448)}
    found = plan(path, 400 * MIB, Options(shapes=asked))
    assert found.training.largest_batch == 0
    by_measure = {remedy.measure: remedy for remedy in found.remedies}
    checkpoints = by_measure["checkpointing"]
    assert checkpoints.extra_forward_passes == 1
    assert checkpoints.segments > 1
    tried = {
        "checkpointing": Options(shapes=asked, checkpoint=str(checkpoints.segments)),
        "mixed_precision": Options(shapes=asked, precision="fp16"),
    }
    for measure, remedy in by_measure.items():
        if measure in tried:
            assert remedy.needed_bytes == analyze(path, tried[measure]).memory.training.peak_bytes


@pytest.mark.parametrize("name", SHIPPED_MODELS)
def test_remedies_hold_at_least_what_they_must(name: str) -> None:
    """Nothing is trained in less than its parameters and what a pass has alive; half precision halves no parameters."""
    stored = analyze(MODELS / f"{name}.onnx").memory.inference
    assert stored.parameter_bytes is not None
    assert stored.peak_live_bytes is not None
    whole = stored.parameter_bytes + stored.peak_live_bytes
    try:
        found = plan(MODELS / f"{name}.onnx", stored.parameter_bytes + 1000, Options(optimizer="adam"))
    except BadOption:
        pytest.skip("a thousand bytes suffice")
    for remedy in found.remedies:
        least = (
            4 * stored.parameter_bytes if remedy.measure in ("checkpointing", "mixed_precision") else whole
        )
        assert remedy.needed_bytes >= least, remedy.measure


# ---- reading and showing it


@pytest.mark.parametrize(
    "make", [lambda: plan(LENET, 1 << 30, target_batch=10**9), lambda: plan(MODELS / "vgg16.onnx", 1 << 30)]
)
def test_a_plan_comes_back_from_json(make: Callable[[], Plan]) -> None:
    found = make()
    assert msgspec.json.decode(msgspec.json.encode(found), type=Plan) == found


def test_the_table_of_the_lectures_devices_is_fresh() -> None:
    """docs/plan.md holds what `python models/fits.py` writes."""
    text = fits.PAGE.read_text(encoding="utf-8")
    assert text == fits.page(text)
