"""As quick, for smaller differences: ten generations at least, and half an hour until every interval is narrow."""

from dataclasses import replace

from suites import quick

SUITE = replace(quick.SUITE, title="three tasks, default modes, ten generations", generations=10, budget_s=1800)
