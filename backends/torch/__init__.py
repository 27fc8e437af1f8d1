"""PyTorch: nn.Module, autograd, torch.optim.

Deviations: tensors are channels first, so a convolution's kernel and the dense layer behind a flatten are permuted (LAYOUT in
engine.py). Optimizers run fused, one kernel for all parameters: the same formula, fewer passes over memory.
"""

TITLE = "PyTorch"
IMPORT = "torch"  # what an interpreter must have for this backend
DISTRIBUTIONS = ("torch",)
REFERENCE = False
MODES = ("eager", "compile", "stock")  # the first is the default
