"""TensorFlow: Keras layers, GradientTape, tf.function.

Deviations: Keras keeps the biased batch variance and Keras's Adam has another epsilon, so BatchNorm is written out in layers.py
and the updates call TensorFlow's fused training kernels in engine.py.
"""

TITLE = "TensorFlow"
IMPORT = "tensorflow"  # what an interpreter must have for this backend
DISTRIBUTIONS = ("tensorflow", "tensorflow-cpu", "keras")  # either build of tensorflow
REFERENCE = False
MODES = ("graph", "xla", "stock")  # the first is the default
