"""What a training step costs at least, from the spec alone: operations and bytes, to set beside a measured time.

Matrix products and convolutions count, 2 operations a multiply-add; activations, pooling, BatchNorm, loss and update do not. What
a framework executes may differ (Winograd does less, recomputation more): these are the model's operations, not the machine's.
"""

import math

from harness.spec import ModelSpec, TaskSpec

FLOAT32 = 4  # bytes


def kernel_flops(model: ModelSpec) -> list[int]:
    """Operations of each kernel on one example, forward: each of its numbers is multiplied once an output position."""
    return [2 * math.prod(t.shape) * t.positions for t in model.parameters if t.axes != "c"]


def forward_flops(model: ModelSpec) -> int:
    """Operations of one example forward."""
    return sum(kernel_flops(model))


def training_flops(model: ModelSpec) -> int:
    """Operations of one example in training: a backward pass is twice a forward one (Kaplan et al. 2020, arXiv 2001.08361, 2.1).

    Once for the gradient by the weights, once by the input, which the first kernel is spared: nobody asks for it. The usual 3 x
    forward leaves that out of account, and would be half as much again as a small perceptron really does.
    """
    flops = kernel_flops(model)
    return 3 * sum(flops) - flops[0]


def training_bytes(spec: TaskSpec, batch: int) -> int:
    """The bytes that a step on ``batch`` examples must move in float32 if no intermediate result ever leaves the chip.

    Parameters and optimizer state are read and written, each gradient is written once, the input is read. Activations, the bulk
    of what a convolutional network really moves, are left out: a bound from below.
    """
    state = 2 if spec.optimizer.kind != "sgd" else int(spec.optimizer.momentum > 0)  # numbers a parameter
    moved = (2 + 2 * state + 1) * spec.model.parameter_count
    return FLOAT32 * (moved + batch * math.prod(spec.data.x_shape))
