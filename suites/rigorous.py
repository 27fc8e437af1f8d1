"""As quick, for small differences: ten generations at least, which find 5 % where five find 10 %; half an hour on two cores."""

from dataclasses import replace

from suites import quick

SUITE = replace(quick.SUITE, title="three tasks, default modes, ten generations", generations=10, budget_s=1800)
