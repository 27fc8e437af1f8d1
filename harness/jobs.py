"""What a worker can be asked: start, trace, open, sample, canary, fit. One method a request, each answers with one message."""

import hashlib
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib import import_module
from itertools import chain, count, islice
from typing import cast

import numpy as np

from harness import batches, catalog, environment, measure, noise, nvml, roofline
from harness.channel import Message
from harness.errors import HarnessError
from harness.fit import fit
from harness.protocol import Batch, Engine, Handle, Session, Stacking
from harness.spec import Arrays, TaskSpec
from harness.trace import trace

PLACED = 8  # batches that a timed cell goes round; enough that none stays in a cache by chance
STACK_FLOPS = 4e9  # of all steps of one call, a second of a CPU: more would outlast a sample by far
TABLE_STEPS = 1000  # rows of the optimizer's table in a timed cell; later steps use the last
Send = Callable[..., None]


@dataclass
class Cell:
    """A session opened for timing, with its batches already on the device."""

    session: Session
    weights: Arrays
    placed: list[Batch]
    single: list[Batch]  # the same examples, batch 1
    trained: list[Batch]  # what a call of a training step goes round: the placed batches, or stacks of them
    stacked: int  # steps of such a call
    epoch: Callable[[], Iterator[Batch]] = lambda: iter(())  # the framework's own input pipeline, epoch after epoch
    per_epoch: int = 1  # steps
    stream: Iterator[Batch] = field(default_factory=lambda: iter(()))  # of that, where it stands
    slowdown: float = 0.0  # planted in each block by `selfcheck`

    def call(self, phase: str) -> tuple[Callable[[Batch], Handle], list[Batch], int]:
        """The function that a phase times, the batches it goes round, and the steps of one call."""
        if phase == "train":
            return self.session.train_step, self.trained, self.stacked
        if phase == "epoch":
            return lambda _: self.session.train_step(next(self.stream)), self.trained, self.stacked
        return self.session.predict, self.single if phase == "latency" else self.placed, 1


class Worker:
    """The state of one worker: an engine, and the cells opened so far."""

    def __init__(self, send: Send) -> None:
        """``send(message, arrays)`` answers the harness."""
        self.send = send
        self.engine: Engine
        self.device = "cpu"
        self.cells: dict[str, Cell] = {}
        self.bird: measure.Canary | None = None

    def answer(self, message: Message, arrays: Arrays) -> None:
        """Run one request; a failure is an answer too, so that the other cells of this worker go on."""
        try:
            reply, found = getattr(self, message["op"])(message, arrays)
        except HarnessError as error:
            reply, found = {"error": str(error)}, {}
        except Exception as error:  # noqa: BLE001 - whatever a framework raises becomes a record
            with suppress(OSError):  # whoever filled the disk with a log must still hear why
                traceback.print_exc()
            reply, found = {"error": f"{type(error).__name__}: {error}"}, {}
        self.send(reply, found)

    def start(self, message: Message, _arrays: Arrays) -> tuple[Message, Arrays]:
        """Import and configure the backend."""
        watch = measure.Stopwatch()
        self.engine = cast("Engine", import_module(f"backends.{catalog.code(message['backend'])}.engine"))
        self.engine.configure(threads=message["threads"], seed=message["seed"])
        self.device = message["device"]
        import_s = watch.seconds()
        facts = {**self.engine.describe(), "cpus": environment.available_cpus()}
        if facts["numerics"]["tf32"]:
            raise HarnessError(f"{message['backend']} may round products to TF32: its configure has to turn that off.")
        if self.device == "gpu" and not facts["gpus"]:
            raise HarnessError(f"{message['backend']} sees no GPU: run with --device cpu, or name another interpreter.")
        return {"import_s": import_s, "describe": facts}, {}

    def session(self, spec: TaskSpec, message: Message, steps: int) -> Session:
        """A session as the message asks, with the lr of each of ``steps`` steps."""
        lrs = spec.learning_rates(steps) if "lrs" not in message else np.array(message["lrs"])
        return self.engine.open_session(
            spec,
            mode=message["mode"],
            precision=message["precision"],
            device=self.device,
            table=spec.optimizer.table(lrs),
        )

    def trace(self, message: Message, arrays: Arrays) -> tuple[Message, Arrays]:
        """The proof's trace; arrays are ``weight/T`` and the proof's inputs."""
        spec = catalog.task(message["task"])
        session = self.session(spec, message, len(message["lrs"]))
        weights = {name: array.astype(message["precision"]) for name, array in pick(arrays, "weight/").items()}
        return {}, trace(session, weights, arrays, tensors=message["tensors"])

    def open(self, message: Message, arrays: Arrays) -> tuple[Message, Arrays]:
        """Open a cell for timing: build, place the batches, first calls and warm-up of the phases asked for."""
        watch = measure.Stopwatch()
        spec = catalog.task(message["task"])
        session = self.session(spec, message, TABLE_STEPS)
        weights = pick(arrays, "weight/")
        session.load(weights)
        values = {"build_s": watch.seconds()}
        with np.load(message["data"], allow_pickle=False) as data:
            wanted = {"x_train": data["x_train"], "y_train": data["y_train"]}
        host = list(islice(batches.endless(spec, wanted, batch=message["batch"], seed=message["seed"]), PLACED))
        placed = [session.put(*batch) for batch in host]
        single = [session.put(batch.x[:1], batch.y[:1], tuple(m[:1] for m in batch.masks)) for batch in host]
        cell = self.cells[message["cell"]] = Cell(
            session, weights, placed, single, trained=placed, stacked=1, slowdown=message["slowdown"]
        )
        if isinstance(session, Stacking):
            size = min(len(placed), max(1, int(STACK_FLOPS / roofline.training_flops(spec.model) / message["batch"])))
            cell.trained, cell.stacked = [session.stack(group) for group in zip(*[iter(placed)] * size, strict=False)], size
        if "epoch" in message["phases"]:
            epoch = self.engine.pipeline(spec.data, wanted, seed=message["seed"], placed=placed)
            cell.per_epoch = len(wanted["y_train"]) // message["batch"]
            cell.epoch = partial(endless, epoch, session, cell.stacked)
            cell.stream = cell.epoch()
        warmups = {}
        for phase in message["phases"]:
            call, over, _ = cell.call(phase)
            values[f"{phase}_first_call_s"] = measure.calls(session, call, over, 1)[0] / 1e9  # tracing and compilation included
            found = measure.warm_up(session, call, over)
            warmups[phase] = {"times_ns": found.times_ns, "steps": found.steps, "stride": found.stride, **asdict(found.steady)}
        facts = self.engine.describe() | environment.process()
        facts |= {"meters": sorted(noise.energy())}
        facts |= {"steps_a_call": cell.stacked, "batches": told(host), "compiled": session.compilations() > 0}
        if {"train", "predict"} <= {*message["phases"]} or self.device != "cpu":  # elsewhere it would be one more compilation
            facts |= session.facts(placed[0])
            if facts["device"] != self.device:
                raise HarnessError(f"asked for the {self.device}, it computes on the {facts['device']}: see concord doctor.")
        return {"values": values, "warmups": warmups, "facts": facts}, {}

    def sample(self, message: Message, _arrays: Arrays) -> tuple[Message, Arrays]:
        """Time one sample of a cell: a block of steps, or single calls. Each begins at the initial weights."""
        cell, phase = self.cells[message["cell"]], message["phase"]
        cell.session.load(cell.weights)
        call, over, stacked = cell.call(phase)
        timed: measure.Timed = measure.calls if phase == "latency" else partial(measure.block, slowdown=cell.slowdown)
        take: Callable[..., measure.Sample] = measure.sample
        if phase == "epoch":
            measure.settle(cell.session, cell.session.train_step, cell.trained)  # the epoch's beginning is timed, too
            cell.stream = cell.epoch()
            take = partial(measure.fed_sample, per_epoch=cell.per_epoch)
        return take(cell.session, call, over, message["steps"], timed=timed, stacked=stacked)._asdict(), {}

    def canary(self, _message: Message, _arrays: Arrays) -> tuple[Message, Arrays]:
        """Time the fixed product and the fixed copy."""
        self.bird = self.bird or measure.Canary()
        return {"values": self.bird.sing()}, {}

    def fit(self, message: Message, arrays: Arrays) -> tuple[Message, Arrays]:
        """Train to the end, what compiles being compiled; an event after each epoch."""
        spec = catalog.task(message["task"])
        with np.load(message["data"], allow_pickle=False) as data:
            held = dict(data)
        weights = pick(arrays, "weight/")
        one = next(batches.training(spec, held, batch=spec.train.batch, seed=message["seed"], epoch=0))
        before = measure.memory(forget=True)
        whole = message["epochs"] * batches.steps_per_epoch(held, spec.train.batch)
        steps = min(message["max_steps"] or whole, whole)
        session = self.session(spec, message, steps)
        session.load(weights)
        session.sync(session.predict(session.put(*one)))
        peaks = self.peaks("predict_", before)
        session.sync(session.train_step(session.put(*one)))  # or epochs would hold its compilation; ``fit`` loads anew
        result = fit(
            session,
            spec,
            held,
            weights=weights,
            seed=message["seed"],
            epochs=message["epochs"],
            max_steps=message["max_steps"],
            seconds=message["seconds"],
            report=lambda figures: self.send({"event": "epoch", **figures}),
        )
        return {**asdict(result), "values": result.final | peaks | self.peaks("", before)}, {}

    def peaks(self, what: str, before: dict[str, int]) -> dict[str, float]:
        """``peak_bytes``, the most that was resident since ``before`` above what was then; named after ``what``.

        On a GPU also the most that the framework's allocator gave out, and what the process holds there by the driver's count.

        That of training counts all of it: building, compiling, evaluations. ``predict_peak_bytes`` is that of a process which has
        built and loaded the model and predicted one batch of training's size, but not yet trained. Both hold what a compiler left
        behind, 39 MiB in JAX, where no earlier seed has filled the compile cache.
        """
        found = {f"{what}peak_bytes": float(measure.memory()["peak"] - before["resident"])} if before else {}
        of_gpu = {"device_peak_bytes": self.engine.device_peak(), "device_held_bytes": nvml.held_bytes()}
        return found | {f"{what}{name}": float(size) for name, size in of_gpu.items() if size is not None}


def endless(epoch: Callable[[], Iterator[Batch]], session: Session, stacked: int) -> Iterator[Batch]:
    """The batches of one epoch after another, without end; as stacks where a call takes several steps."""
    stream = chain.from_iterable(epoch() for _ in count())
    return map(session.stack, zip(*[stream] * stacked, strict=False)) if isinstance(session, Stacking) else stream


def told(host: Sequence[batches.HostBatch]) -> str:
    """Batches by number, size and a digest of what they hold, in their order: "8 of 64: 5f3a09c1"."""
    digest = hashlib.blake2b(digest_size=4)
    for batch in host:
        for array in (batch.x, batch.y, *batch.masks):
            digest.update(array.tobytes())
    return f"{len(host)} of {len(host[0].x)}: {digest.hexdigest()}"


def pick(arrays: Arrays, prefix: str) -> Arrays:
    """The arrays whose names begin so, without the prefix."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
