"""What others published, trained again: wants the full data sets, and for the ResNet days or a GPU (see --max-time)."""

from harness.suite import Job, Suite

SUITE = Suite(
    title="published recipes, three seeds each, nothing timed",
    jobs=(Job("mnist_cnn", phases=()), Job("mnist_mlp", phases=()), Job("cifar_resnet", phases=())),
    generations=0,
    seeds=3,
    budget_s=4 * 3600,
)
