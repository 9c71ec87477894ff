"""Devices: the list, the names that find one, and files of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyzer.devices import Device, devices, find, load
from analyzer.errors import BadOption
from analyzer.render import devices as rendered

ROOT = Path(__file__).parents[2]
GIB = 1 << 30


def test_every_device_has_a_source_and_some_memory() -> None:
    """A figure that nobody can look up is no figure."""
    assert len({device.name for device in devices()}) == len(devices())
    for device in devices():
        assert device.source, device.name
        assert device.memory_bytes % (1 << 28) == 0, device.name


@pytest.mark.parametrize(
    ("name", "memory_gib", "gigabytes_per_second"),
    [
        ("GTX Titan X", 12, 336.5), ("GTX 980", 4, 224), ("Tesla K40", 12, 288), ("Tesla K20", 5, 208),
        ("P100 PCIe", 16, 732), ("V100 SXM2 16GB", 16, 900), ("V100 SXM2 32GB", 32, 900), ("T4", 16, 300),
        ("RTX 2080 Ti", 11, 616), ("RTX 3090", 24, 936), ("RTX 4090", 24, 1008), ("RTX 5090", 32, 1792),
        ("A10", 24, 600), ("A100 SXM4 40GB", 40, 1555), ("A100 PCIe 80GB", 80, 1935), ("L4", 24, 300),
        ("L40S", 48, 864), ("H100 PCIe", 80, 2000), ("H100 SXM5", 80, 3350), ("H200", 141, 4800),
        ("MI250", 128, 3276.8), ("MI300X", 192, 5300), ("AGX Orin 64GB", 64, 204.8), ("M1", 16, 68.25),
    ],
)  # fmt: skip
def test_the_devices_of_the_trade_are_there(name: str, memory_gib: int, gigabytes_per_second: float) -> None:
    """Memory and bandwidth are those of the sheets; what is called GB there are GiB of chips."""
    device = find(name)
    assert device.memory_bytes == memory_gib * GIB
    assert device.bytes_per_second == pytest.approx(gigabytes_per_second * 1e9)


@pytest.mark.parametrize(
    ("name", "cores", "megahertz", "dtype"),
    [
        ("GTX Titan X", 3072, 1075, "float32"), ("GTX 980", 2048, 1216, "float32"), ("K40", 2880, 745, "float32"),
        ("K20", 2496, 706, "float32"), ("RTX 4090", 16384, 2520, "float32"), ("RTX 3090", 10496, 1695, "float32"),
        ("AGX Orin 64GB", 2048, 1300, "float32"), ("Jetson Orin Nano 8GB", 1024, 625, "float32"),
    ],
)  # fmt: skip
def test_rates_are_cores_times_clock(name: str, cores: int, megahertz: int, dtype: str) -> None:
    """Two operations for each core and tick: a second way to the figure of the sheet."""
    assert find(name).flops_per_second[dtype] == pytest.approx(2 * cores * megahertz * 1e6, rel=0.01)


def test_no_rate_is_one_with_sparsity() -> None:
    """Dense rates: 8 bits run at most four times as fast as 16 (accumulation in 16 bits counted), tf32 half as fast."""
    for device in devices():
        rates = device.flops_per_second
        if "float16" in rates:
            assert rates["float16"] <= 32 * rates["float32"], device.name
            assert rates.get("int8", 0) <= 4.01 * rates["float16"], device.name
        if "tf32" in rates and "float16" in rates:
            assert rates["tf32"] <= 0.51 * rates["float16"], device.name


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("rtx4090", "GeForce RTX 4090"),
        ("NVIDIA GeForce RTX 4090", "GeForce RTX 4090"),
        ("geforce-gtx_TITAN.x", "GeForce GTX Titan X"),
        ("Tesla V100-SXM2-16GB", "V100 SXM2 16GB"),
        ("NVIDIA A100-SXM4-80GB", "A100 SXM4 80GB"),
        ("NVIDIA A100 80GB PCIe", "A100 PCIe 80GB"),
        ("titan x", "GeForce GTX Titan X"),
        ("L4", "L4"),
        ("m1", "Apple M1"),
        ("jetson orin nano 8gb", "Jetson Orin Nano 8GB"),
    ],
)
def test_a_name_is_found_however_it_is_written(asked: str, name: str) -> None:
    """Case, punctuation, order and the maker's words do not matter, and a part that fits one alone is enough."""
    assert find(asked).name == name


def test_every_name_finds_its_own_device() -> None:
    for device in devices():
        assert find(device.name) is device


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("v101", "V100 SXM2 16GB"),
        ("4091", "RTX 4090"),
        ("mi301", "MI300X"),
        ("h100", "H100 PCIe 80GB or H100 SXM5 80GB: say which"),
        ("abacus", "`devices` lists"),
        ("", "`devices` lists"),
    ],
)
def test_an_unknown_name_is_told_with_near_ones(asked: str, says: str) -> None:
    with pytest.raises(BadOption, match=says) as caught:
        find(asked)
    assert caught.value.reason == "UNKNOWN_DEVICE"
    assert "\n" not in caught.value.message


MINE = """
name = "mine"
memory_bytes = "10GiB"
context_bytes = "0.5GiB"
bytes_per_second = 5e11
flops_per_second = { float32 = "12T", float16 = 24_000_000_000_000 }
"""


def test_a_device_of_ones_own(tmp_path: Path) -> None:
    """A file with the keys of the list; numbers plain or with a unit."""
    (tmp_path / "mine.toml").write_text(MINE)
    device = find(str(tmp_path / "mine.toml"))
    assert device == Device(
        name="mine",
        memory_bytes=10 * GIB,
        context_bytes=GIB // 2,
        bytes_per_second=500_000_000_000,
        flops_per_second={"float32": 12 * 10**12, "float16": 24 * 10**12},
    )
    assert device.usable_bytes == 9.5 * GIB


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name = ", "no TOML"),
        ('name = "mine"', "memory_bytes"),
        ('name = "mine"\nmemory_bytes = "12GB"', "12GB"),
        ('name = "mine"\nmemory_bytes = 0', "from 1 up"),
        ('name = "mine"\nmemory_bytes = true', "from 1 up"),
        ('name = "mine"\nmemory = "12GiB"', "no 'memory'"),
        ('name = "mine"\nmemory_bytes = 1\nflops_per_second = 7', "flops_per_second"),
        ('name = "mine"\nmemory_bytes = 1\nflops_per_second = { float32 = "fast" }', "fast"),
    ],
)
def test_a_file_that_is_no_device_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(BadOption, match=says):
        load(tmp_path / "mine.toml")


def test_a_file_that_is_not_there_is_refused() -> None:
    with pytest.raises(BadOption, match="cannot read"):
        find("nowhere.toml")


@pytest.mark.parametrize(
    ("dtype", "matrix", "rate"),
    [
        ("float32", False, 10), ("float32", True, 40), ("float16", True, 80), ("uint8", True, 160),
        ("int8", False, 160), ("float8_e4m3fn", True, 120), ("bfloat16", True, 160), ("int64", False, 160),
    ],
)  # fmt: skip
def test_a_type_runs_at_its_rate_or_at_the_highest(dtype: str, matrix: bool, rate: int) -> None:
    """float32 products may be tf32; a type of which the sheet is silent is not slower than the fastest."""
    rates = {"float32": 10, "tf32": 40, "float16": 80, "int8": 160, "float8": 120}
    assert Device(name="d", memory_bytes=1, flops_per_second=rates).rate(dtype, matrix) == rate


def test_the_page_of_devices_is_fresh() -> None:
    """docs/devices.md is what `onnx-analyzer devices --format markdown` prints."""
    assert (ROOT / "docs/devices.md").read_text(encoding="utf-8") == rendered.markdown()
