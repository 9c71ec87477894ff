"""Every position of every tensor of small nets: as analysed, as measured, and as worked out by hand."""

from __future__ import annotations

import pytest

pytest.importorskip("onnxruntime")

from analyzer import clipped_field
from analyzer.verify import fields, rows
from analyzer.verify.fields import Agreement, agreement
from tests.conftest import text_model
from tests.fields import deciding, here, merges, mixing, movement, upsampling, windows

NETS = {**windows.NETS, **upsampling.NETS, **merges.NETS, **movement.NETS, **mixing.NETS, **deciding.NETS}


@pytest.fixture(autouse=True)
def _no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "_child", here.child)


def differing(found: Agreement) -> list[str]:
    """Where both sides do not agree, or one of them said nothing of what was there."""
    return [
        str(one)
        for one in found.findings
        if one.verdict in ("disagree", "not run") and one.reason != fields.BEYOND
    ]


@pytest.mark.parametrize("name", NETS)
def test_what_is_analysed_is_what_is_measured(name: str) -> None:
    """At all positions of all tensors; more may be answered where the net says so."""
    net = NETS[name]
    model = text_model(net.text, net.opset)
    if not net.runs:
        assert agreement(model, limits=here.UNLIMITED).reason is not None
        return
    found = agreement(model, every=True, limits=here.UNLIMITED)
    assert found.reason is None
    assert found.findings
    assert not differing(found)
    assert {one.query.tensor for one in found.findings if one.verdict == "conservative"} <= set(net.loose)


@pytest.mark.parametrize("name", [name for name, net in NETS.items() if net.seen])
def test_figures_are_those_worked_out_by_hand(name: str) -> None:
    """Rows of x that a position sees, as both say."""
    net = NETS[name]
    model = text_model(net.text, net.opset)
    for (tensor, axis, position), told in net.seen.items():
        seen = clipped_field(model, tensor, {axis: position})
        along = max(at for name, at in seen if name == "x") if net.axis is None else net.axis
        assert seen["x", along] == told, (tensor, axis, position)


def test_there_are_nets_for_every_rule_and_trap() -> None:
    """No fewer than were asked for."""
    assert len(NETS) >= 60


def test_the_unet_of_the_paper_sees_188_rows_or_204() -> None:
    """572 rows to 388, of sixteen neighbours four see 188 rows and twelve 204."""
    model = text_model(merges.UNET.text)
    found = agreement(model, tensors=["y"], every=True, limits=here.UNLIMITED)
    assert not differing(found)
    sizes = [
        one.measured[1] - one.measured[0] + 1
        for one in found.findings
        if one.axis == 2 and one.query.axis == 2 and one.measured
    ]
    assert len(sizes) == 388
    assert sorted(sizes[192:208]) == [188] * 4 + [204] * 12
    assert set(sizes) == {188, 204}


def test_a_process_of_its_own_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is done outside of tests."""
    net = NETS["small-unet"]
    together = agreement(text_model(net.text), limits=here.UNLIMITED)
    monkeypatch.undo()
    assert agreement(text_model(net.text)) == together
