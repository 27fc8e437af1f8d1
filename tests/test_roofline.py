"""What a step costs, against numbers worked out by hand."""

import pytest

from harness import catalog, roofline

MNIST = 26 * 26 * (9 * 32) + 13 * 13 * 32 * 64 + 64 * 10  # multiply-adds: convolution, dense, dense
RISK = 61 * 256 + 256
# The stem; stage 1; stages 2 and 3, whose first convolution takes half the channels; dense.
RESNET_20 = (
    32 * 32 * 9 * 3 * 16
    + 6 * 32 * 32 * 9 * 16 * 16
    + 16 * 16 * 9 * (16 * 32 + 5 * 32 * 32)
    + 8 * 8 * 9 * (32 * 64 + 5 * 64 * 64)
    + 64 * 10
)


@pytest.mark.parametrize(
    ("name", "products", "first"),
    [("mnist_cnn", MNIST, 26 * 26 * 288), ("risk_mlp", RISK, 61 * 256), ("cifar_resnet", RESNET_20, 1024 * 432)],
)
def test_operations_are_those_counted_by_hand(name, products, first):
    """Two a multiply-add; training is three times that without the first layer's gradient by its input.

    PyTorch 2.13's own counter, torch.utils.flop_counter, says the same of all six.
    """
    model = catalog.task(name).model
    assert roofline.forward_flops(model) == 2 * products
    assert roofline.training_flops(model) == 2 * (3 * products - first)


def test_resnet_20_is_known():
    """40.6 million multiply-adds in the literature; one block more a stage is six convolutions of equal cost."""
    assert RESNET_20 == 40_551_040
    deeper = catalog.task("cifar_resnet:depth=26").model
    assert roofline.forward_flops(deeper) == 2 * (RESNET_20 + 6 * 32 * 32 * 9 * 16 * 16)


@pytest.mark.parametrize(
    ("name", "batch", "parameters", "moved"),
    [
        ("mnist_cnn", 64, 347_146, 7 * 347_146 + 64 * 784),  # adam keeps two numbers a parameter
        ("risk_mlp", 32, 16_129, 7 * 16_129 + 32 * 61),
        ("cifar_resnet", 128, 269_722, 5 * 269_722 + 128 * 3072),  # momentum keeps one
    ],
)
def test_bytes_are_those_counted_by_hand(name, batch, parameters, moved):
    """Parameters and state twice, gradients and input once, four bytes each."""
    spec = catalog.task(name)
    assert roofline.training_bytes(spec, batch) == 4 * moved
