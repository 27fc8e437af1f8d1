"""The two credit tables: how a column becomes numbers, and the one fixed split of the rows.

Their content is checked (harness/data.py), so that the categories of a column are those that occur in it, in order.
"""

import hashlib
import io

import numpy as np
import pandas as pd

from harness import draws

SPLIT_SEED = 0  # never a run's seed: everybody is tested on the same rows
# The column to predict with the value that stands for 1, and the categories that are spelt as numbers.
TARGETS = {"german_credit": ("creditability", "bad"), "credit_default": ("Y", 1)}
CODED = ["X2", "X3", "X4"]
# Its columns in use, found by name in any order; german_credit has one spelling only, and all of it is used.
DEFAULT = ["X1", *(f"X{i}" for i in range(5, 24)), *CODED, "Y"]


def arrays(content: bytes, name: str) -> dict[str, np.ndarray]:
    """The coded table, split in train, val and test: ``x_*`` float32 (rows, features), ``y_*`` int32.

    Numbers come first, standardised by the training rows, then a column for each category of each other column.
    """
    table = read(content, name)
    target, one = TARGETS[name]
    y = (table.pop(target) == one).to_numpy(np.int32)
    rows = split(y, name)
    coded = [column for column in table if column in CODED or not pd.api.types.is_numeric_dtype(table[column])]
    numbers = table.drop(columns=coded).to_numpy(np.float64)
    train = numbers[rows["train"]]
    categories = pd.get_dummies(table[coded], columns=coded)
    x = np.hstack([(numbers - train.mean(axis=0)) / train.std(axis=0), categories]).astype(np.float32)
    return {f"{kind}_{part}": array[rows[part]] for part in rows for kind, array in (("x", x), ("y", y))}


def split(y: np.ndarray, name: str) -> dict[str, np.ndarray]:
    """Row numbers of the 60/20/20 split, ascending, each part with the same share of either outcome."""
    shares = []
    for outcome in (0, 1):
        members = np.flatnonzero(y == outcome)
        order = members[draws.permutation(SPLIT_SEED, "split", name, outcome, count=len(members))]
        shares.append(np.split(order, [len(order) * 3 // 5, len(order) * 4 // 5]))
    parts = zip(("train", "val", "test"), *shares, strict=True)
    return {part: np.sort(np.concatenate(rows)) for part, *rows in parts}


def digest(content: bytes) -> str:
    """The sha256 of the numbers of credit_default, column by column as float64, however they are spelt; "" of anything else."""
    try:
        return hashlib.sha256(read(content, "credit_default").to_numpy("<f8").T.tobytes()).hexdigest()
    except (ValueError, KeyError):
        return ""


def read(content: bytes, name: str) -> pd.DataFrame:
    """The columns in use."""
    table = pd.read_csv(io.BytesIO(content), encoding="utf-8-sig", keep_default_na=False)
    return table if name == "german_credit" else table[DEFAULT]
