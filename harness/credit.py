"""The two credit tables: their columns, how a column becomes numbers, and the one fixed split of the rows.

The categories are listed here, so that a feature means the same in every file and a new value is an error.
"""

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from harness import draws
from harness.errors import HarnessError

SPLIT_SEED = 0  # never a run's seed: everybody is tested on the same rows


@dataclass(frozen=True)
class Table:
    """The columns in use: ``numeric`` ones are standardised, ``categories`` one-hot coded as listed."""

    name: str
    numeric: tuple[str, ...]
    categories: Mapping[str, tuple[str, ...]]
    target: str
    outcomes: tuple[str, str]  # the words for 0 and 1


GERMAN = Table(
    name="german_credit",
    numeric=(
        "duration_in_month",
        "credit_amount",
        "installment_rate_in_percentage_of_disposable_income",
        "present_residence_since",
        "age_in_years",
        "number_of_existing_credits_at_this_bank",
        "number_of_people_being_liable_to_provide_maintenance_for",
    ),
    categories={
        "status_of_existing_checking_account": (
            "... < 0 DM",
            "0 <= ... < 200 DM",
            "... >= 200 DM / salary assignments for at least 1 year",
            "no checking account",
        ),
        "credit_history": (
            "no credits taken/ all credits paid back duly",
            "all credits at this bank paid back duly",
            "existing credits paid back duly till now",
            "delay in paying off in the past",
            "critical account/ other credits existing (not at this bank)",
        ),
        "purpose": (
            *("car (new)", "car (used)", "furniture/equipment", "radio/television", "domestic appliances"),
            *("repairs", "education", "retraining", "business", "others"),
        ),
        "savings_account_and_bonds": (
            *("... < 100 DM", "100 <= ... < 500 DM", "500 <= ... < 1000 DM", "... >= 1000 DM"),
            "unknown/ no savings account",
        ),
        "present_employment_since": (
            *("unemployed", "... < 1 year", "1 <= ... < 4 years", "4 <= ... < 7 years", "... >= 7 years"),
        ),
        "personal_status_and_sex": (
            "male : divorced/separated",
            "female : divorced/separated/married",
            "male : single",
            "male : married/widowed",
        ),
        "other_debtors_or_guarantors": ("none", "co-applicant", "guarantor"),
        "property": (
            "real estate",
            "building society savings agreement/ life insurance",
            "car or other, not in attribute Savings account/bonds",
            "unknown / no property",
        ),
        "other_installment_plans": ("bank", "stores", "none"),
        "housing": ("rent", "own", "for free"),
        "job": (
            "unemployed/ unskilled - non-resident",
            "unskilled - resident",
            "skilled employee / official",
            "management/ self-employed/ highly qualified employee/ officer",
        ),
        "telephone": ("none", "yes, registered under the customers name"),
        "foreign_worker": ("yes", "no"),
    },
    target="creditability",
    outcomes=("good", "bad"),
)
DEFAULT = Table(
    name="credit_default",
    numeric=("X1", "X5", *(f"X{i}" for i in range(6, 24))),
    categories={"X2": ("1", "2"), "X3": tuple("0123456"), "X4": tuple("0123")},
    target="Y",
    outcomes=("0", "1"),
)


def arrays(content: bytes, table: Table) -> dict[str, np.ndarray]:
    """The coded table, split in train, val and test: ``x_*`` float32 (rows, features), ``y_*`` int32."""
    columns = read(content, table)
    numeric = np.stack([numbers(columns[name], name, table=table) for name in table.numeric], axis=1)
    coded = [one_hot(columns[name], name, table=table) for name in table.categories]
    y = one_hot(columns[table.target], table.target, table=table)[:, 1].astype(np.int32)
    rows = split(y, table.name)
    train = numeric[rows["train"]]
    standard = (numeric - train.mean(axis=0)) / train.std(axis=0)
    x = np.concatenate([standard, *coded], axis=1).astype(np.float32)
    return {f"{kind}_{part}": array[rows[part]] for part in rows for kind, array in (("x", x), ("y", y))}


def split(y: np.ndarray, name: str) -> dict[str, np.ndarray]:
    """Row numbers of the 60/20/20 split, ascending, each part with the same share of either outcome."""
    parts: dict[str, list[np.ndarray]] = {"train": [], "val": [], "test": []}
    for outcome in (0, 1):
        members = np.flatnonzero(y == outcome)
        order = members[draws.permutation(SPLIT_SEED, "split", name, outcome, count=len(members))]
        cuts = np.split(order, [len(order) * 3 // 5, len(order) * 4 // 5])
        for part, rows in zip(parts.values(), cuts, strict=True):
            part.append(rows)
    return {part: np.sort(np.concatenate(rows)) for part, rows in parts.items()}


def read(content: bytes, table: Table) -> dict[str, list[str]]:
    """The columns of a CSV file that the table uses, by name; other columns (an ID) are left out."""
    rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig")), strict=True)
    wanted = [*table.numeric, *table.categories, table.target]
    if lacking := set(wanted) - set(rows.fieldnames or ()):
        raise HarnessError(f"{table.name}: the table has no column {min(lacking)!r}; use the official file.")
    cells = [[row[name] for name in wanted] for row in rows]
    return {name: list(column) for name, column in zip(wanted, zip(*cells, strict=True), strict=True)}


def numbers(values: list[str], column: str, *, table: Table) -> np.ndarray:
    """A numeric column, float64 (rows,)."""
    found = []
    for value in values:
        try:
            found.append(float(value))
        except (TypeError, ValueError):
            found.append(math.nan)
        if not math.isfinite(found[-1]):
            raise HarnessError(f"{table.name}: column {column!r} holds {value!r}, which is no number.")
    return np.array(found)


def one_hot(values: list[str], column: str, *, table: Table) -> np.ndarray:
    """A category column, float64 (rows, categories), one 1 a row."""
    known = {**table.categories, table.target: table.outcomes}[column]
    place = {category: index for index, category in enumerate(known)}
    for value in values:
        if value not in place:
            fact = f"{table.name}: column {column!r} holds {value!r}"
            raise HarnessError(f"{fact}, which is none of {', '.join(map(repr, known))}.")
    return np.eye(len(known))[[place[value] for value in values]]


def figures(content: bytes, table: Table) -> Iterator[bytes]:
    """A table of numbers, column by column, as float64 bytes: the same however the numbers were written."""
    for name, values in read(content, table).items():
        yield numbers(values, name, table=table).astype("<f8").tobytes()
