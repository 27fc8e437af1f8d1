"""As quick, for differences of 5 %: ten generations at least of forty short rounds, and more until all is within 1.5 %.

An interval may be as wide as that at most: a verdict begins beyond 2 %, and 5 % has 3 % to lie there. Where neighbours slow a
machine in bursts, two samples beside each other differ as much whether they last 0.05 or 0.5 s: by 8 to 12 % (standard deviation)
on the day this was tried. So more and shorter pairs tell more in the same time.
"""

from dataclasses import replace

from suites import quick

SUITE = replace(
    quick.SUITE,
    title="three tasks, default modes, ten generations",
    generations=10,
    rounds=40,
    sample_s=0.05,
    narrow=0.015,
    budget_s=1800,
)
