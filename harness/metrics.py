"""What a trained model is worth: figures from logits and labels, in NumPy. Knows no record and no framework."""

import numpy as np

from harness.spec import Loss


def figures(loss: Loss, logits: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """The task's figures from logits (N, K) and labels (N,), all in float64."""
    logits = logits.astype(np.float64)
    return multiclass(logits, y) if loss == "softmax_cross_entropy" else binary(logits[:, 0], y)


def multiclass(logits: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """log_loss and accuracy."""
    log_loss = np.mean(np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(y)), y])
    return {"log_loss": float(log_loss), "accuracy": float(np.mean(logits.argmax(1) == y))}


def binary(z: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """AUC, average precision, log-loss, Brier score, and at probability 0.5 accuracy, precision, recall, F1 (0 of nothing)."""
    hits = float(np.sum((z > 0) & (y == 1)))
    predicted, positive = float(np.sum(z > 0)), float(np.sum(y == 1))
    return {
        "auc": auc(z, y),
        "average_precision": average_precision(z, y),
        "log_loss": float(np.mean(np.logaddexp(0, z) - z * y)),
        "brier": float(np.mean((sigmoid(z) - y) ** 2)),
        "accuracy": float(np.mean((z > 0) == (y == 1))),
        "precision": hits / predicted if predicted else 0.0,
        "recall": hits / positive if positive else 0.0,
        "f1": 2 * hits / (predicted + positive) if predicted + positive else 0.0,
    }


def scores(loss: Loss, logits: np.ndarray, y: np.ndarray) -> dict[str, list[float]]:
    """Of a binary task each example's probability of 1, six digits, and its label, for who draws its curves; else nothing."""
    if loss != "sigmoid_cross_entropy":
        return {}
    return {"scores": sigmoid(logits[:, 0].astype(np.float64)).round(6).tolist(), "labels": y.tolist()}


def sigmoid(z: np.ndarray) -> np.ndarray:
    """The probability of a logit, without overflow."""
    return np.exp(-np.logaddexp(0, -z))


def auc(score: np.ndarray, y: np.ndarray) -> float:
    """Area under the ROC curve as the Mann-Whitney statistic; tied scores share their rank."""
    _, group, size = np.unique(score, return_inverse=True, return_counts=True)
    last = np.cumsum(size)
    rank = (last - (size - 1) / 2)[group]
    positive = float(np.sum(y == 1))
    negative = len(y) - positive
    if not positive or not negative:
        return float("nan")
    return float((rank[y == 1].sum() - positive * (positive + 1) / 2) / (positive * negative))


def average_precision(score: np.ndarray, y: np.ndarray) -> float:
    """The mean of the precision at every score, weighted by what recall gains there; tied scores come together."""
    _, group, size = np.unique(-score, return_inverse=True, return_counts=True)
    gained = np.bincount(group, weights=y == 1)
    precision = np.cumsum(gained) / np.cumsum(size)
    return float(np.sum(gained * precision) / gained.sum()) if gained.any() else float("nan")
