"""What this machine is, and the clean environment that a worker gets."""

import os
import platform
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

# What a worker may inherit: how to find programs, libraries, a home and the devices. Nothing else.
INHERITED = (
    "PATH", "HOME", "USERPROFILE", "SYSTEMROOT", "LANG", "LC_ALL",
    "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH", "CC", "CXX",
    "CUDA_VISIBLE_DEVICES",  # which GPU is used; a worker on the CPU sees none all the same
)  # fmt: skip

GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")  # how Linux chooses a CPU's frequency
POOLS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC")  # XLA sizes its own by NPROC

# One heap for all threads, of which nothing is given back to the system before the process ends. By default glibc decides that
# by the thread that allocates and by what was freed before: a JAX step of the MNIST CNN then fetches 11,542 pages from the
# system, or none, by luck, and takes 28 or 11 ms (mallopt(3): arenas, and thresholds that grow with use). Other C libraries
# pay no heed.
HEAP = {"MALLOC_ARENA_MAX": "1", **dict.fromkeys(("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"), str(2**32))}


def available_cpus() -> list[int]:
    """The CPUs this process may use; all of them where the system does not say."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def process() -> dict[str, Any]:
    """What a worker sees of itself once its framework is loaded: interpreter, and CPUs and number of its threads of all kinds."""
    cpus = set(available_cpus())
    threads: list[int] = []
    if hasattr(os, "sched_getaffinity") and (tasks := Path("/proc/self/task")).is_dir():
        threads = [int(entry.name) for entry in tasks.iterdir()]
    for thread in threads:
        with suppress(OSError):  # it has ended
            cpus |= os.sched_getaffinity(thread)  # a pool that pins its own threads may leave what was granted
    seen = {"os_threads": len(threads)} if threads else {}  # "threads" is what an engine says of its pool
    return {"python": platform.python_version(), "numpy": version("numpy"), "cpus": sorted(cpus), **seen}


def proc(file: str, key: str) -> str:
    """What a file of /proc says first under a key; "" where the system has no such file or key."""
    path = Path("/proc", file)
    rows = (row.partition(":") for row in path.read_text("utf-8", "replace").splitlines()) if path.is_file() else ()
    return next((value.strip() for name, _, value in rows if name.strip() == key), "")


def inherited(interpreter: str) -> dict[str, str]:
    """What an interpreter may see of this process's environment; only our own sees the packages in HOME."""
    lent = {} if interpreter == sys.executable else {"PYTHONNOUSERSITE": "1"}
    return {name: os.environ[name] for name in INHERITED if name in os.environ} | lent


def worker_environment(
    *, root: Path, cpus: list[int], device: str, scratch: Path, cache: Path, interpreter: str = sys.executable
) -> dict[str, str]:
    """The whole environment of a worker: the same thread budget for every framework, quiet logs, its own compile cache."""
    places = {
        "CONCORD_CPUS": ",".join(map(str, cpus)),
        "PYTHONPATH": str(root),
        **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch)),  # a worker ends by being killed, and tidies nothing up
        "KERAS_HOME": str(scratch / "keras"),  # a user's keras.json must not change the layout
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        "TRITON_CACHE_DIR": str(cache / "triton"),
        "CUDA_CACHE_PATH": str(cache / "cuda"),  # the driver's own, of whatever it compiles; else in the home folder, and warm
        "JAX_COMPILATION_CACHE_DIR": str(cache / "jax"),
    }
    return inherited(interpreter) | places | variables(str(len(cpus)), device)


def variables(threads: str, device: str) -> dict[str, str]:
    """What is set for every worker, on whatever machine and in whatever folder: threads, heap, and how frameworks behave."""
    chosen = {
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **HEAP,
        **dict.fromkeys(POOLS, threads),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "KERAS_BACKEND": "tensorflow",
        "NVIDIA_TF32_OVERRIDE": "0",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    if device == "cpu":
        return chosen | {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
    chosen["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # as nvidia-smi and the meter of energy count, not the fastest first
    if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
        chosen["CUDA_VISIBLE_DEVICES"] = visible  # which GPU it was is part of the record
    return chosen


def machine() -> dict[str, Any]:
    """What machine and interpreter this is, for the manifest. What cannot be read is said to be missing, or left out."""
    import psutil  # which no worker has

    governor = {}
    with suppress(OSError, ValueError):  # where there is none, or its driver does not answer
        governor = {"governor": GOVERNOR.read_text("ascii").strip()}
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "cpu": proc("cpuinfo", "model name") or platform.processor() or "not known",
        "cpus": os.cpu_count(),
        "cpus_available": available_cpus(),
        "affinity": "set before import" if hasattr(os, "sched_setaffinity") else "not available on this system",
        **governor,
        "memory_bytes": psutil.virtual_memory().total,
        "packages": {name: version(name) for name in ("numpy", "scipy", "pandas", "matplotlib")},
    }


def version(distribution: str) -> str:
    """The installed version of a distribution, or ``not installed``."""
    return next((found.version for found in metadata.distributions(name=distribution)), "not installed")
