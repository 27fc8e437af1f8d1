"""What this machine is, and the clean environment that a worker gets."""

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

# What a worker may inherit: how to find programs, libraries, a home, a temporary folder and the devices. Nothing else.
INHERITED = (
    "PATH", "HOME", "USERPROFILE", "SYSTEMROOT", "TMPDIR", "TEMP", "TMP", "LANG", "LC_ALL",
    "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH", "CC", "CXX",
)  # fmt: skip


def available_cpus() -> list[int]:
    """The CPUs this process may use; all of them where the system does not say."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def process() -> dict[str, Any]:
    """What a worker sees of itself once its framework is loaded: interpreter, CPUs, and its threads where the system says."""
    status = Path("/proc/self/status")
    text = status.read_text("utf-8", "replace") if status.is_file() else ""
    seen = {"threads": int(text.partition("\nThreads:")[2].split()[0])} if "\nThreads:" in text else {}
    return {"python": platform.python_version(), "numpy": version("numpy"), "cpus": available_cpus(), **seen}


def worker_environment(*, root: Path, cpus: list[int], device: str, scratch: Path, cache: Path) -> dict[str, str]:
    """The whole environment of a worker: the same thread budget for every framework, quiet logs, its own compile cache."""
    threads = str(len(cpus))
    chosen = {
        "CONCORD_CPUS": ",".join(map(str, cpus)),
        "PYTHONPATH": str(root),
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "NPROC": threads,  # XLA sizes its pool by it
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "KERAS_BACKEND": "tensorflow",
        "KERAS_HOME": str(scratch / "keras"),  # a user's keras.json must not change the layout
        "NVIDIA_TF32_OVERRIDE": "0",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        "TRITON_CACHE_DIR": str(cache / "triton"),
        "JAX_COMPILATION_CACHE_DIR": str(cache / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    if device == "cpu":
        chosen |= {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
    return {name: os.environ[name] for name in INHERITED if name in os.environ} | chosen


def machine() -> dict[str, Any]:
    """What machine and interpreter this is, for the manifest. What cannot be read is said to be missing."""
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "cpu": cpu_model(),
        "cpus": os.cpu_count(),
        "cpus_available": available_cpus(),
        "affinity": "set before import" if hasattr(os, "sched_setaffinity") else "not available on this system",
        "memory_bytes": memory_bytes(),
        "packages": {name: version(name) for name in ("numpy", "scipy", "pandas", "matplotlib")},
    }


def cpu_model() -> str:
    """The processor's name as the system gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "not known"


def memory_bytes() -> int | None:
    """Physical memory; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def version(distribution: str) -> str:
    """The installed version of a distribution, or ``not installed``."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"
