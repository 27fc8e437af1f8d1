"""The two credit tables: their columns, how a column becomes numbers, and the one fixed split of the rows.

The categories are listed here, so that a feature means the same in every file and a new value is an error.
"""

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness import draws
from harness.errors import HarnessError

_SPLIT_SEED = 0  # never a run's seed: everybody is tested on the same rows
_GERMAN = """\
status_of_existing_checking_account: ... < 0 DM | 0 <= ... < 200 DM | \
... >= 200 DM / salary assignments for at least 1 year | no checking account
credit_history: no credits taken/ all credits paid back duly | all credits at this bank paid back duly | \
existing credits paid back duly till now | delay in paying off in the past | \
critical account/ other credits existing (not at this bank)
purpose: car (new) | car (used) | furniture/equipment | radio/television | domestic appliances | repairs | education | \
retraining | business | others
savings_account_and_bonds: ... < 100 DM | 100 <= ... < 500 DM | 500 <= ... < 1000 DM | ... >= 1000 DM | \
unknown/ no savings account
present_employment_since: unemployed | ... < 1 year | 1 <= ... < 4 years | 4 <= ... < 7 years | ... >= 7 years
personal_status_and_sex: male : divorced/separated | female : divorced/separated/married | male : single | \
male : married/widowed
other_debtors_or_guarantors: none | co-applicant | guarantor
property: real estate | building society savings agreement/ life insurance | \
car or other, not in attribute Savings account/bonds | unknown / no property
other_installment_plans: bank | stores | none
housing: rent | own | for free
job: unemployed/ unskilled - non-resident | unskilled - resident | skilled employee / official | \
management/ self-employed/ highly qualified employee/ officer
telephone: none | yes, registered under the customers name
foreign_worker: yes | no
creditability: good | bad"""
_GERMAN_NUMBERS = """
duration_in_month credit_amount installment_rate_in_percentage_of_disposable_income present_residence_since age_in_years
number_of_existing_credits_at_this_bank number_of_people_being_liable_to_provide_maintenance_for"""
# The columns in use and their categories, in the order of the features; a column of numbers, which are standardised, has none.
# The last column is the target: its categories stand for 0 and 1.
TABLES: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "german_credit": dict.fromkeys(_GERMAN_NUMBERS.split(), ())
    | {column: known.split(" | ") for column, known in (row.split(": ", 1) for row in _GERMAN.splitlines())},
    "credit_default": dict.fromkeys(("X1", "X5", *(f"X{i}" for i in range(6, 24))), ())
    | {"X2": range(1, 3), "X3": range(7), "X4": range(4), "Y": range(2)},
}


def arrays(content: bytes, name: str) -> dict[str, np.ndarray]:
    """The coded table, split in train, val and test: ``x_*`` float32 (rows, features), ``y_*`` int32."""
    numbers, coded = [], []
    for column, cells in _columns(content, name).items():
        known = TABLES[name][column]
        values = np.array(cells, str if isinstance(known, list) else np.float64)
        if not known:
            numbers.append(values)
        elif strange := set(values.tolist()) - set(known):
            raise HarnessError(f"{name}: column {column!r} holds {strange.pop()!r}, which is none of {[*known]}.")
        else:
            coded.append(values[:, None] == known)  # (rows, categories)
    y = coded.pop()[:, 1].astype(np.int32)
    rows = split(y, name)
    numeric = np.stack(numbers, axis=1)
    train = numeric[rows["train"]]
    standard = (numeric - train.mean(axis=0)) / train.std(axis=0)
    x = np.concatenate([standard, *coded], axis=1).astype(np.float32)
    return {f"{kind}_{part}": array[rows[part]] for part in rows for kind, array in (("x", x), ("y", y))}


def split(y: np.ndarray, name: str) -> dict[str, np.ndarray]:
    """Row numbers of the 60/20/20 split, ascending, each part with the same share of either outcome."""
    shares = []
    for outcome in (0, 1):
        members = np.flatnonzero(y == outcome)
        order = members[draws.permutation(_SPLIT_SEED, "split", name, outcome, count=len(members))]
        shares.append(np.split(order, [len(order) * 3 // 5, len(order) * 4 // 5]))
    parts = zip(("train", "val", "test"), *shares, strict=True)
    return {part: np.sort(np.concatenate(rows)) for part, *rows in parts}


def digest(content: bytes, name: str) -> str:
    """The sha256 of a table of numbers, column by column as float64, however they are spelt; "" if it is none."""
    try:
        return hashlib.sha256(np.array([*_columns(content, name).values()], "<f8").tobytes()).hexdigest()
    except (ValueError, KeyError, csv.Error):
        return ""


def _columns(content: bytes, name: str) -> dict[str, Sequence[str]]:
    """The cells of the columns in use, found by name; others (an ID) are left out."""
    header, *rows = filter(None, csv.reader(io.StringIO(content.decode("utf-8-sig")), strict=True))
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    return {column: columns[column] for column in TABLES[name]}
