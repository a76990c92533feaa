"""Tells what the machine's processor can do."""

from pathlib import Path


def multiplies_bfloat16() -> bool:
    """Says whether the CPU multiplies bfloat16 itself (AVX512-BF16 or AMX); emulated, it takes far longer than float32."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text() if cpuinfo.exists() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags
