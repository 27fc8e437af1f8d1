"""As quick, for smaller differences: ten generations at least of fifteen short rounds, and half an hour until all is narrow.

Where neighbours slow a machine in bursts, two samples beside each other differ as much whether they last 0.05 or 0.5 s: by 8 to
12 % (standard deviation) on the day this was tried. So more and shorter pairs tell more: of two selfchecks of PyTorch one had
intervals of +-2.5 %, in 274 s, and the other, with five rounds of 0.15 s, +-8.1 %, in 236 s.
"""

from dataclasses import replace

from suites import quick

SUITE = replace(
    quick.SUITE, title="three tasks, default modes, ten generations", generations=10, rounds=15, sample_s=0.1, budget_s=1800
)
