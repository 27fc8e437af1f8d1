"""Every task in every mode, five seeds each; each backend's first mode over threads, and over batches from 1 to 512.

The ResNet trains for 60 steps at most: on one CPU its whole recipe takes days.
"""

from harness.suite import Job, Phase, Suite

PHASES: tuple[Phase, ...] = ("train", "epoch", "predict", "latency")
SWEEP = (1, 8, 32, 128, 512)
SUITE = Suite(
    title="all tasks, all modes, a sweep of batches",
    jobs=(
        Job("mnist_cnn", phases=PHASES, scale=True),
        Job("mnist_mlp", phases=PHASES),
        Job("risk_mlp", phases=PHASES, scale=True),
        Job("cifar_resnet", epochs=1, max_steps=60, phases=PHASES, scale=True),
        *(
            Job(task, batch=batch, train=False, sweep=True, phases=("train", "predict"))
            for task, own in (("mnist_cnn", 64), ("risk_mlp", 32))
            for batch in SWEEP
            if batch != own  # which is timed above
        ),
    ),
    modes="all",
    seeds=5,
    budget_s=4 * 3600,
)
