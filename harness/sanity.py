"""The sanity line of a binary task: what a logistic regression makes of the same split."""

import numpy as np

from harness import metrics
from harness.data import Dataset
from harness.spec import TaskSpec


def logistic_regression(spec: TaskSpec, dataset: Dataset) -> dict[str, float]:
    """Test figures of scikit-learn's logistic regression with its default penalty; empty for a task that is not binary."""
    if spec.loss != "sigmoid_cross_entropy":
        return {}
    from sklearn.linear_model import LogisticRegression

    arrays = dataset.arrays
    model = LogisticRegression(max_iter=1000).fit(arrays["x_train"], arrays["y_train"])
    logits: np.ndarray = model.decision_function(arrays["x_test"])
    return metrics.figures(spec.loss, logits[:, None], arrays["y_test"])
