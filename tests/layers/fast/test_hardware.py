"""What is seen of the machine: accelerators, and CPUs that multiply bfloat16 faster than float32."""

import pytest
import tensorflow as tf

from tfmtl.layers.fast import hardware

LINES = """processor : 0
vendor_id	: {vendor}
model name	: Processor
flags		: fpu sse4_2 avx2 {flags}

processor : 1
"""


@pytest.mark.parametrize(
    ("vendor", "flags", "favors"),
    [
        ("GenuineIntel", "avx512f avx512_bf16 amx_bf16", True),
        ("GenuineIntel", "avx512f avx512_bf16", False),  # a virtual machine that hides AMX
        ("GenuineIntel", "avx512f", False),
        ("AuthenticAMD", "avx512f avx512_bf16", True),
        ("AuthenticAMD", "avx512f", False),
    ],
)
def test_products_of_bfloat16(vendor, flags, favors, tmp_path, monkeypatch):
    file = tmp_path / "cpuinfo"
    file.write_text(LINES.format(vendor=vendor, flags=flags))
    monkeypatch.setattr(hardware, "CPUINFO", file)
    assert hardware.cpu_favors_bfloat16.__wrapped__() is favors


def test_a_system_that_does_not_tell_of_its_cpu(tmp_path, monkeypatch):
    monkeypatch.setattr(hardware, "CPUINFO", tmp_path / "missing")
    assert hardware.cpu_favors_bfloat16.__wrapped__() is False


def test_an_accelerator_that_is_hidden_is_none(monkeypatch):
    gpu = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
    cpu = tf.config.PhysicalDevice("/physical_device:CPU:0", "CPU")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [cpu, gpu])
    for visible, found in (([cpu], False), ([cpu, gpu], True)):
        monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind=None, visible=visible: visible)
        assert hardware.has_accelerator() is found
