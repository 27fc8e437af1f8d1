"""Binary credit risk, a multilayer perceptron with dropout on the inputs and on the hidden layer.

dropout 0.2, dense 256, ReLU, dropout 0.2, dense 1, sigmoid in the loss; AdamW 1e-3 with weight decay 0.01 (PyTorch's default),
batch 32; early stopping on validation AUC. Data: ``german_credit`` (UCI 144, Hofmann 1994; 1 = bad credit) or ``credit_default``
(UCI 350, Yeh and Lien 2009; 1 = default). Categories become one-hot columns, numbers are standardised by the training split.
"""

from harness.errors import unknown
from harness.spec import DataSpec, ModelSpec, OptimizerSpec, Quality, TaskSpec, TrainSpec, he_normal, layer

FEATURES = {"german_credit": 61, "credit_default": 33}  # columns after one-hot coding
TARGETS = {"german_credit": 0.74, "credit_default": 0.76}  # test AUC


def make(*, data: str = "german_credit") -> TaskSpec:
    """The spec on one of the two data sets."""
    if data not in FEATURES:
        raise unknown("data set of risk_mlp", data, FEATURES)
    features, hidden = FEATURES[data], 256
    return TaskSpec(
        name="risk_mlp",
        title="Credit-risk MLP",
        model=ModelSpec(
            tensors=(
                *layer("dense1", "i o", (features, hidden), he_normal(features)),
                *layer("dense2", "i o", (hidden, 1), he_normal(hidden)),
            ),
            sizes={"features": features, "hidden": hidden},
            dropout=((features,), (hidden,)),
            dropout_rate=0.2,
        ),
        data=DataSpec(data, (features,), 2),
        loss="sigmoid_cross_entropy",
        optimizer=OptimizerSpec("adamw", lr=1e-3, weight_decay=0.01),
        train=TrainSpec(batch=32, epochs=50, monitor="auc", patience=10),
        quality=Quality("auc", target=TARGETS[data], margin=0.01),
        params={"data": data},
    )
