"""Does everything work? One small task, one generation: nothing is ranked."""

from harness.suite import Job, Suite

SUITE = Suite(title="one small task, indicative only", jobs=(Job("risk_mlp", epochs=3),), generations=1, rounds=3, sample_s=0.1)
