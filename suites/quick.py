"""The main job: three tasks, each backend's default mode, five generations; about ten minutes on two cores."""

from harness.suite import Job, Suite

SUITE = Suite(
    title="three tasks, default modes",
    jobs=(
        Job("mnist_cnn"),
        Job("risk_mlp"),
        # The spec's batch of 128 takes a second a step and more on one core.
        Job("cifar_resnet", batch=32, epochs=1, max_steps=15, phases=("train", "predict")),
    ),
)
