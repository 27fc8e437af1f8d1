"""Every task in every mode, trained as its spec says, but for the ResNet's 164 epochs."""

from harness.suite import Job, Suite

SUITE = Suite(
    title="three tasks, all modes",
    jobs=(
        Job("mnist_cnn"),
        Job("risk_mlp"),
        Job("cifar_resnet", epochs=1, max_steps=60),
    ),
    modes="all",
)
