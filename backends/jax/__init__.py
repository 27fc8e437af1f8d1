"""JAX: flax.nnx modules, optax, one jax.jit for the whole step.

Deviations: the model is split once and merged inside the jit, since nnx.jit walks the module in Python on every call; what it
is split into are plain dicts, since nnx.State costs 30 us a call. flax keeps the biased batch variance, so BatchNorm is written
out in layers.py; optax computes Adam's bias corrections in float32, so engine.py scales by the spec's table instead.

Mode ``jit`` has the whole step, loss and update too, in one program. ``scan`` takes the steps of several batches in one
jax.lax.scan, unrolled: outside of loops XLA brings a convolution's gradient by its kernel into the form that its library
computes, in HLO b01f_01io->b01f for f01b_i01o->01bf, inside of them it does not (jax-ml/jax#12868). ResNet-20 at batch 128 is
taken singly, as in ``jit``. ``bf16`` gives the layers the compute dtype bfloat16: parameters, their gradients, optimizer,
running statistics and loss stay float32. In float64 the compute dtype is float64. XLA may leave out a rounding between two
operations that it fuses. ``stock`` has flax's own dropout and BatchNorm and optax's optimizer, with their defaults.
"""

TITLE = "JAX"
IMPORT = "jax"  # what an interpreter must have for this backend
DISTRIBUTIONS = ("jax", "jaxlib", "flax", "optax")
REFERENCE = False
MODES = ("jit", "scan", "bf16", "stock")  # the first is the default
