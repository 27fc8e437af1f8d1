"""What NVIDIA's library tells of a GPU, by a fake driver of two: no GPU is here."""

import os
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest

from harness import noise, nvml

ELSEWHERE = SimpleNamespace(pid=1, usedGpuMemory=2**30)


@pytest.fixture(autouse=True)
def driver(monkeypatch):
    """A pynvml whose GPUs 0 and 1 have used 1.5 and 2 J between two readings; ``processes`` are those on each."""
    fake, counters = ModuleType("pynvml"), {0: iter((5000, 6500)), 1: iter((7000, 9000))}

    def handle(number):
        if number not in counters:
            raise RuntimeError("Invalid Argument")
        return number

    fake.__spec__ = ModuleSpec("pynvml", None)
    fake.NVMLError = RuntimeError
    fake.nvmlInit = lambda: None
    fake.nvmlDeviceGetHandleByIndex = handle
    fake.nvmlDeviceGetHandleByUUID = lambda uuid: handle(int(uuid.removeprefix("GPU-")))
    fake.nvmlDeviceGetTotalEnergyConsumption = lambda gpu: next(counters[gpu])
    fake.processes = {0: [], 1: []}
    fake.nvmlDeviceGetComputeRunningProcesses = lambda gpu: fake.processes[gpu]
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return fake


@pytest.mark.parametrize(
    ("visible", "joules"),
    [(None, 1.5), ("0", 1.5), ("1,0", 2.0), ("GPU-1", 2.0), (" 1 ", 2.0), ("-1", None), ("", None), ("7", None), ("GPU-7", None)],
)
def test_energy_of_the_gpu_in_use_is_metered_too(tmp_path, monkeypatch, visible, joules):
    """Joules of the first that a worker may see, from NVIDIA's own library; none of a worker without GPUs, or of another's."""
    monkeypatch.setattr(noise, "RAPL", tmp_path)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = noise.between(noise.energy(), noise.energy(), wall_s=1.0, cpu_s=1.0)
    assert found == {"wall_s": 1.0} | ({} if joules is None else {"energy_j": pytest.approx(joules)})


@pytest.mark.parametrize(("visible", "held"), [("0", 300.0), ("1", 500.0), ("-1", None), ("7", None)])
def test_memory_is_this_process_s_own_on_the_gpu_in_use(driver, monkeypatch, visible, held):
    """Not that of others, and not that of this process on another GPU."""
    for gpu, size in ((0, 300), (1, 500)):
        driver.processes[gpu] = [ELSEWHERE, SimpleNamespace(pid=os.getpid(), usedGpuMemory=size)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert nvml.held_bytes() == held


@pytest.mark.parametrize("processes", [[], [ELSEWHERE], [SimpleNamespace(pid=os.getpid(), usedGpuMemory=None)]])
def test_memory_that_a_driver_does_not_tell_is_none(driver, processes):
    """Of no process, of those of other numbers, or of ours without a figure: not measured, which is not 0."""
    driver.processes[0] = processes
    assert nvml.held_bytes() is None


def test_without_the_library_nothing_is_read(monkeypatch):
    """As on most machines."""
    monkeypatch.setattr(nvml, "find_spec", lambda _name: None)
    assert (nvml.energy_j(), nvml.held_bytes()) == (None, None)
