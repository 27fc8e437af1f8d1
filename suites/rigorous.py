"""As quick, for differences of 5 %: ten generations at least of sixty rounds, and more until all is within 1.5 %.

An interval may be as wide as that at most: a verdict begins beyond 2 %, and 5 % has 3 % to lie there.
"""

from dataclasses import replace

from suites import quick

SUITE = replace(
    quick.SUITE,
    title="three tasks, default modes, ten generations",
    generations=10,
    rounds=60,
    narrow=0.015,
    budget_s=1800,
)
