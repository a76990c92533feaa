"""The machine that figures were measured on."""

import os
import platform
from pathlib import Path


def machine() -> str:
    """Returns the processor, its cores and the system."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return f"{next(names, platform.machine())}, {os.cpu_count()} cores, {platform.system()}"
