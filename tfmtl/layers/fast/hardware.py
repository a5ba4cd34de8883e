"""What the machine at hand multiplies fast. Other backends can import this, not ask it of TensorFlow."""

from functools import cache
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def has_accelerator() -> bool:
    """Whether TensorFlow sees a device other than CPUs."""
    import tensorflow as tf

    return any(device.device_type != "CPU" for device in tf.config.get_visible_devices())


@cache
def cpu_favors_bfloat16() -> bool:
    """Whether the CPU multiplies matrices of bfloat16 faster than those of float32.

    One with AMX does, and AMD's with AVX-512 BF16. On Intel's without AMX that extension multiplies no more numbers a cycle
    than float32's does, and older CPUs only imitate it. Not known of Arm's. Read from Linux; no elsewhere.
    """
    if not CPUINFO.exists():
        return False
    lines = (line.partition(":") for line in CPUINFO.read_text().splitlines())
    facts = {name.strip(): value.split() for name, _, value in lines}
    flags = facts.get("flags", [])
    return "amx_bf16" in flags or ("avx512_bf16" in flags and facts.get("vendor_id") == ["AuthenticAMD"])
