"""PyTorch: nn.Module, autograd, torch.optim.

Deviations: tensors are channels first, so a convolution's kernel and the dense layer behind a flatten are permuted (LAYOUT in
engine.py); Linear holds its kernel transposed. Optimizers run fused, one kernel for all parameters: the same formula, fewer
passes over memory.

Mode ``compile`` is torch.compile of the model, a program a shape: its forward and backward pass, while loss and update stay
``eager``. ``channels_last`` keeps images and convolution kernels channels last in memory; without images it is ``eager``.
``bf16`` is ``eager`` under autocast to bfloat16: parameters, their gradients, optimizer, running statistics and loss stay
float32. Autocast leaves float64 alone. ``stock`` has PyTorch's own dropout, and its defaults in BatchNorm and optimizer.
"""

TITLE = "PyTorch"
IMPORT = "torch"  # what an interpreter must have for this backend
DISTRIBUTIONS = ("torch",)
REFERENCE = False
MODES = ("eager", "compile", "channels_last", "bf16", "stock")  # the first is the default
