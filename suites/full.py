"""Every task in every mode, five seeds each, over batches from 1 to 512; trained as the specs say but for the ResNet's epochs."""

from harness.suite import Job, Phase, Suite

PHASES: tuple[Phase, ...] = ("train", "epoch", "predict", "latency")
SWEEP = (1, 8, 32, 128, 512)
SUITE = Suite(
    title="all tasks, all modes, a sweep of batches",
    jobs=(
        Job("mnist_cnn", phases=PHASES),
        Job("mnist_mlp", phases=PHASES),
        Job("risk_mlp", phases=PHASES),
        Job("cifar_resnet", epochs=1, max_steps=60, phases=PHASES),
        *(
            Job(task, batch=batch, train=False, phases=("train", "predict"))
            for task in ("mnist_cnn", "risk_mlp")
            for batch in SWEEP
        ),
    ),
    modes="all",
    seeds=5,
    budget_s=4 * 3600,
)
