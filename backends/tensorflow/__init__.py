"""TensorFlow: Keras layers, GradientTape, tf.function.

Deviations: Keras keeps the biased batch variance and Keras's Adam has another epsilon, so BatchNorm is written out in layers.py
and the updates call TensorFlow's fused training kernels in engine.py.

Mode ``graph`` has the whole step, loss and update too, in one tf.function, ``xla`` has XLA compile it, ``eager`` is the step
without. ``bf16`` is ``graph`` under Keras's policy mixed_bfloat16: parameters, their gradients, optimizer, running statistics
and loss stay float32. In float64 the policy is float64. ``stock`` has Keras's own dropout, BatchNorm and optimizer, with its
defaults.
"""

TITLE = "TensorFlow"
IMPORT = "tensorflow"  # what an interpreter must have for this backend
DISTRIBUTIONS = ("tensorflow", "tensorflow-cpu", "keras")  # either build of tensorflow
REFERENCE = False
MODES = ("graph", "xla", "eager", "bf16", "stock")  # the first is the default
