"""What NVIDIA's library (NVML) counts on the GPU in use: joules, and memory of this process. None where it cannot be read.

The GPU in use is the first one which the worker may see, by its UUID or its number: NVML counts by the bus, and CUDA is told to
do so. A worker that was told to use none reads nothing.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from typing import Any


def energy_j() -> float | None:
    """Joules of the whole GPU since its driver was loaded; none of one older than Volta."""
    return read(lambda nvml, gpu: nvml.nvmlDeviceGetTotalEnergyConsumption(gpu) / 1e3)  # of mJ


def held_bytes() -> float | None:
    """Memory that this process occupies there: the driver's context, libraries, and all that its allocator keeps for later.

    None where the driver does not tell it process by process (Windows), or numbers them otherwise than we (a container).
    """
    return read(lambda nvml, gpu: {p.pid: p.usedGpuMemory for p in nvml.nvmlDeviceGetComputeRunningProcesses(gpu)}[os.getpid()])


def read(figure: Callable[[Any, Any], float | None]) -> float | None:
    """A figure of the GPU in use, asked of the library."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0].strip()
    if first in {"", "-1"} or not find_spec("pynvml"):
        return None
    import pynvml

    with suppress(pynvml.NVMLError, KeyError):  # no driver, no such GPU, no such figure of it
        pynvml.nvmlInit()
        by_number = first.isdecimal()
        gpu = pynvml.nvmlDeviceGetHandleByIndex(int(first)) if by_number else pynvml.nvmlDeviceGetHandleByUUID(first)
        return figure(pynvml, gpu)
    return None
