"""The main job: three tasks, each backend's default mode, at least five generations; five minutes on two cores.

Eight rounds of 0.08 s take about as long as five of 0.15 s and tell more: the intervals of a run of ten rounds were 0.74 times
as wide as those of every second of them, whereas neighbouring samples differ no less for being longer.
"""

from harness.suite import Job, Suite

SUITE = Suite(
    title="three tasks, default modes",
    jobs=(
        Job("mnist_cnn", epochs=1, phases=("train", "predict")),
        Job("risk_mlp"),
        # The spec's batch of 128 takes a second a step and more on one core.
        Job("cifar_resnet", batch=8, max_steps=6, phases=("train", "predict")),
    ),
    rounds=8,
    sample_s=0.08,
    budget_s=330,
)
