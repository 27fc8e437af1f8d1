"""CIFAR-10, the residual network of He et al. 2015 (arXiv 1512.03385), section 4.2.

Depth 6n+2, 20 by default; option-A shortcuts (subsample, zero-pad the new channels on both sides); SGD 0.1, momentum 0.9, weight
decay 1e-4, batch 128, lr divided by 10 at half and three quarters of about 64,000 steps (164 epochs); 4-pixel pad, crop, flip.
Published test error: 8.75 % (20), 7.51 % (32), 7.17 % (44), 6.97 % (56). Two deviations: inputs are standardised by channel,
where the paper subtracts the per-pixel mean of its 45,000 training images; and what is padded is black, where its zeros are that
mean. Its 110 layers begin at an lr of 0.01, which this recipe does not: deeper than 56 is refused.
"""

from harness.errors import HarnessError
from harness.spec import (
    ONES,
    ZEROS,
    DataSpec,
    ModelSpec,
    OptimizerSpec,
    ParamSpec,
    Quality,
    TaskSpec,
    TrainSpec,
    he_normal,
    layer,
)

DEEPEST = 56  # that is trained without a warm-up of the lr
PUBLISHED = {20: 0.9125, 32: 0.9249, 44: 0.9283, 56: 0.9303}  # table 6: 1 - error
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # of the training pixels, by channel
WIDTHS, SIDES = (16, 32, 64), (32, 16, 8)  # channels of a stage, and side of its output


def make(*, depth: int = 20) -> TaskSpec:
    """The spec of the network with ``depth`` = 6n+2 weighted layers."""
    if depth < 8 or depth > DEEPEST or (depth - 2) % 6:
        depths = ", ".join(map(str, range(8, DEEPEST + 1, 6)))
        raise HarnessError(f"cifar_resnet: depth {depth} is not 6n+2 from 8 to {DEEPEST}: choose {depths}.")
    blocks = (depth - 2) // 6
    tensors = [*conv("conv", 3, WIDTHS[0], side=32), *norm("norm", WIDTHS[0])]
    width = WIDTHS[0]
    for stage, (channels, side) in enumerate(zip(WIDTHS, SIDES, strict=True), start=1):
        for block in range(blocks):
            path = f"stage{stage}/{block}"
            tensors += [*conv(f"{path}/conv1", width, channels, side=side), *norm(f"{path}/norm1", channels)]
            tensors += [*conv(f"{path}/conv2", channels, channels, side=side), *norm(f"{path}/norm2", channels)]
            width = channels
    tensors += layer("dense", "i o", (width, 10), he_normal(width))
    return TaskSpec(
        name="cifar_resnet",
        title=f"CIFAR-10 ResNet-{depth}",
        model=ModelSpec(
            tensors=tuple(tensors),
            sizes={"blocks": blocks, "stage1": WIDTHS[0], "stage2": WIDTHS[1], "stage3": WIDTHS[2], "classes": 10},
            batch_norm_momentum=0.1,
            batch_norm_eps=1e-5,
        ),
        data=DataSpec("cifar10", (32, 32, 3), 10, MEAN, STD, augment="pad4_crop_flip"),
        loss="softmax_cross_entropy",
        optimizer=OptimizerSpec("sgd", lr=0.1, momentum=0.9, weight_decay=1e-4),
        train=TrainSpec(batch=128, epochs=164, milestones=(0.5, 0.75)),
        quality=Quality(
            "accuracy",
            target=PUBLISHED.get(depth, 0.9) - 0.005,
            margin=0.01,
            published=PUBLISHED.get(depth),
            published_source="He et al. 2015, table 6",
        ),
        proof_batch=8,
        # At the full lr the first steps multiply any difference, the more the deeper: float64 rounding of 1e-15 had grown to
        # 4e-12 after ten, and at 3 % of it to 1e-11 after six at 56 layers. That shows chaos, not inequality; a missing
        # decay still moves every weight by lr x 1e-4 of itself a step, 1e-8 at 56 layers.
        proof_lr=min(0.03, 4 / depth**2),
        params={"depth": str(depth)},
    )


def conv(path: str, width: int, channels: int, *, side: int) -> list[ParamSpec]:
    """A 3x3 convolution without bias; ``side`` is that of its output."""
    shape = (3, 3, width, channels)
    return [ParamSpec(f"{path}/kernel", "h w i o", shape, he_normal(9 * width), positions=side * side)]


def norm(path: str, channels: int) -> list[ParamSpec]:
    """A BatchNorm: two parameters, two buffers."""
    return [
        ParamSpec(f"{path}/gamma", "c", (channels,), ONES),
        ParamSpec(f"{path}/beta", "c", (channels,), ZEROS),
        ParamSpec(f"{path}/mean", "c", (channels,), ZEROS, trained=False),
        ParamSpec(f"{path}/var", "c", (channels,), ONES, trained=False),
    ]
