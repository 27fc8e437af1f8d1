"""Training to the end, nothing timed: what the accuracy claims rest on. Wants the full data sets."""

from harness.suite import Job, Suite

SUITE = Suite(
    title="trained as published, nothing timed",
    jobs=(Job("mnist_cnn", phases=()), Job("risk_mlp", phases=()), Job("risk_mlp:data=credit_default", phases=())),
    generations=0,
)
