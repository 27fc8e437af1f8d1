"""NumPy: the reference. The spec made executable in float64, backprop written by hand and checked by finite differences.

It arbitrates when two frameworks disagree and is the double that lets the harness be tested in seconds.
"""

TITLE = "NumPy"
IMPORT = "numpy"  # what an interpreter must have for this backend
DISTRIBUTIONS = ("numpy",)
REFERENCE = True  # the arbiter: proven by finite differences, not timed beside the frameworks
MODES = ("reference",)  # the first is the default
