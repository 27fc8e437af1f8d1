"""The main job: three tasks, each backend's default mode, at least five generations; five minutes on two cores."""

from harness.suite import Job, Suite

SUITE = Suite(
    title="three tasks, default modes",
    jobs=(
        Job("mnist_cnn", epochs=1, phases=("train", "predict")),
        Job("risk_mlp"),
        # The spec's batch of 128 takes a second a step and more on one core.
        Job("cifar_resnet", batch=8, max_steps=6, phases=("train", "predict")),
    ),
    sample_s=0.15,
    budget_s=330,
)
