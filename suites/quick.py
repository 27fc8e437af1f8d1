"""The main job: three tasks, each backend's default mode, at least five generations; six minutes on two slow cores.

Many short samples tell more than a few long ones in the same time. With neighbours on the machine two blocks beside each other
differ by 3.5 % (median absolute deviation; standard deviation 8 to 9 %) whether they last 10 or 80 ms, by more beyond 0.1 s: the
median of all pairs in 4 s varies by 0.5 % at 20 ms, 0.55 at 30, 0.6 at 40, 0.9 at 80 and 1.6 at 150 (tests/blocks.py). At
less than 30 ms what others take of the CPUs, counted in ticks of 10 ms, would show less.
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
    rounds=20,
    sample_s=0.03,
    budget_s=330,
)
