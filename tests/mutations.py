"""The traps, put back: each mutation makes one backend differ from the spec in one way. Data only; judged by test_mutations.py.

``row`` is the trap's row in the design's table of traps, 0 for a slip of our own kind. ``precision``, ``level`` and ``where`` say
which row of the proof must be the first to fail: a proof that fails later, or somewhere else, has not found the trap.
"""

from typing import NamedTuple

MNIST, RESNET, RISK = "mnist_cnn", "cifar_resnet:depth=8", "risk_mlp"


class Edit(NamedTuple):
    """A change of one file of the backend; ``old`` occurs there exactly once."""

    file: str
    old: str
    new: str


class Mutation(NamedTuple):
    """One trap in one backend, and where the proof must find it."""

    name: str
    row: int
    backend: str
    task: str
    edits: tuple[Edit, ...]
    level: str  # weights, logits, loss, gradients, open, statistics, tensors, eval, steps, update, length, rounding
    where: str
    precision: str = "float64"
    mode: str = ""  # the backend's first


def rounded(parameters: str) -> Edit:
    """PyTorch's gradients of these parameters in bfloat16, where the session computes in float32."""
    old = "        return value\n\n    def set_training"
    loop = f"        for p in {parameters}:\n"
    return Edit(
        "engine.py",
        old,
        f"{loop}            p.grad = p.grad if self.dtype == torch.float64 else p.grad.bfloat16().float()\n{old}",
    )


LOGITS, LOSS = "logits at step 0", "loss at step 0"

TORCH = (
    Mutation(
        "the hidden layer's gradient in bfloat16",
        21,
        "torch",
        RISK,
        (
            Edit(
                "risk_mlp.py",
                "        x = F.relu(self.dense1(x))  # (B, 256)\n",
                "        x = self.dense1(x)\n        if x.requires_grad and x.dtype.itemsize == 4:\n"
                "            x.register_hook(lambda g: g.bfloat16().float())\n        x = F.relu(x)\n",
            ),
        ),
        "open",
        "dense1/kernel, all ReLUs open",
        "float32",
    ),
    Mutation(
        "every convolution's gradient in bfloat16",
        21,
        "torch",
        RESNET,
        (
            Edit("cifar_resnet.py", "self.norm1(self.conv1(x))", "self.norm1(low(self.conv1(x)))"),
            Edit("cifar_resnet.py", "self.norm2(self.conv2(y))", "self.norm2(low(self.conv2(y)))"),
            Edit(
                "cifar_resnet.py",
                "class Block(nn.Module)",
                "def low(x):\n    if x.requires_grad and x.dtype.itemsize == 4:\n"
                "        x.register_hook(lambda g: g.bfloat16().float())\n    return x\n\n\nclass Block(nn.Module)",
            ),
        ),
        "open",
        "stage1/0/conv1/kernel, all ReLUs open",
        "float32",
    ),
    Mutation(
        "predictions of weights that were replaced",
        0,
        "torch",
        RISK,
        (
            Edit(
                "engine.py",
                "            return self.forward(batch.x, self.no_masks)\n",
                "            self.frozen = self.frozen or copy.deepcopy(self.model).eval()\n"
                "            return self.frozen(batch.x, batch.masks)\n",
            ),
            Edit("engine.py", "        self.optimizer.step()\n", "        self.optimizer.step()\n        self.frozen = None\n"),
            Edit(
                "engine.py", "    self.reset()\n\n    def reset", "    self.frozen = None\n        self.reset()\n\n    def reset"
            ),
            Edit("engine.py", "import numpy as np\n", "import copy\n\nimport numpy as np\n"),
        ),
        "eval",
        "evaluation logits of weights just loaded",
    ),
    Mutation(
        "one example trained without dropout",
        16,
        "torch",
        RISK,
        (Edit("layers.py", "return x * keep if self.training", "return x * keep if self.training and len(x) > 1"),),
        "gradients",
        "dense2/bias from one example",
    ),
    Mutation(
        "one example predicted in bfloat16",
        11,
        "torch",
        MNIST,
        (
            Edit(
                "engine.py",
                "            return self.forward(batch.x, self.no_masks)\n",
                "            with torch.autocast('cpu', torch.bfloat16, enabled=len(batch.x) == 1):\n"
                "                return self.forward(batch.x, self.no_masks).to(self.dtype)\n",
            ),
        ),
        "logits",
        "logits of one example",
        "float32",
    ),
    Mutation(
        "no update after ten steps",
        0,
        "torch",
        MNIST,
        (
            Edit(
                "engine.py", "        self.optimizer.step()\n", "        if self.step < 10:\n            self.optimizer.step()\n"
            ),
        ),
        "steps",
        "loss at step 11",
    ),
    Mutation(
        "ReLU with another slope at 0",
        17,
        "torch",
        MNIST,
        (Edit("mnist_cnn.py", "F.relu(self.conv1(x))", "self.conv1(x).clamp(min=0)"),),
        "gradients",
        "conv1/bias at biases of 0",
    ),
    Mutation(
        "flatten order: channels last",
        15,
        "torch",
        MNIST,
        (Edit("engine.py", '"h w c o": "o (c h w)"', '"h w c o": "o (h w c)"'),),
        "logits",
        LOGITS,
    ),
    Mutation(
        "max-pool padded: 3 by 3 at stride 2",
        2,
        "torch",
        MNIST,
        (Edit("mnist_cnn.py", "F.max_pool2d(x, 2, stride=2)", "F.max_pool2d(x, 3, stride=2, padding=1)"),),
        "logits",
        LOGITS,
    ),
    Mutation(
        "GELU for ReLU",
        17,
        "torch",
        MNIST,
        (Edit("mnist_cnn.py", "F.relu(self.dense1(x))", "F.gelu(self.dense1(x))"),),
        "logits",
        LOGITS,
    ),
    Mutation(
        "Adam epsilon 1e-7",
        8,
        "torch",
        MNIST,
        (Edit("engine.py", '"eps": spec.eps', '"eps": 1e-7'),),
        "tensors",
        "conv1/kernel after step 0",
    ),
    Mutation(
        "lr x 1.01",
        0,
        "torch",
        MNIST,
        (Edit("engine.py", 'group["lr"] = lr', 'group["lr"] = 1.01 * lr'),),
        "tensors",
        "conv1/kernel after step 0",
    ),
    Mutation(
        "lr of the step before",
        13,
        "torch",
        MNIST,
        (Edit("engine.py", "self.lrs[min(self.step,", "self.lrs[min(max(self.step - 1, 0),"),),
        "tensors",
        "conv1/kernel after step 1",
    ),
    Mutation(
        "sum for mean",
        18,
        "torch",
        MNIST,
        (
            Edit(
                "engine.py",
                'F.cross_entropy(logits, y, reduction="mean")',
                'F.cross_entropy(logits, y, reduction="sum")',
            ),
        ),
        "loss",
        LOSS,
    ),
    Mutation(
        "bfloat16 autocast",
        21,
        "torch",
        RISK,
        (
            Edit(
                "engine.py",
                "        value = loss(self.spec.loss, self.forward(batch.x, batch.masks), batch.y)\n",
                '        with torch.autocast("cpu", torch.bfloat16):\n'
                "            logits = self.forward(batch.x, batch.masks)\n"
                "        value = loss(self.spec.loss, logits.to(self.dtype), batch.y)\n",
            ),
        ),
        "loss",
        LOSS,
        precision="float32",
    ),
    Mutation(
        "bfloat16 autocast, at evaluation too",
        21,
        "torch",
        MNIST,
        (
            Edit(
                "engine.py",
                "            return self.forward(batch.x, self.no_masks)\n",
                '            with torch.autocast("cpu", torch.bfloat16):\n'
                "                return self.forward(batch.x, self.no_masks).to(self.dtype)\n",
            ),
        ),
        "logits",
        LOGITS,
        precision="float32",
    ),
    Mutation(
        "flatten order: channels last in memory, and then in order",
        15,
        "torch",
        MNIST,
        (
            Edit(
                "mnist_cnn.py",
                "x.flatten(1)",
                "(x if x.is_contiguous() else x.permute(0, 2, 3, 1)).flatten(1)",
            ),
        ),
        "logits",
        LOGITS,
        mode="channels_last",
    ),
    Mutation(
        "bf16 mode with its loss in bfloat16",
        21,
        "torch",
        MNIST,
        (
            Edit("engine.py", "self.model(x, masks).to(self.dtype)", "self.model(x, masks)"),
            Edit("engine.py", "masks), batch.y)", "masks), batch.y).to(self.dtype)"),
            Edit("engine.py", "self.no_masks)\n\n", "self.no_masks).to(self.dtype)\n\n"),
        ),
        "rounding",
        "losses: what half precision could hold",
        precision="float32",
        mode="bf16",
    ),
    Mutation(
        "bf16 mode with a bfloat16 optimizer state",
        21,
        "torch",
        MNIST,
        (
            Edit(
                "engine.py",
                "        self.optimizer.step()\n",
                "        self.optimizer.step()\n"
                "        for slots in self.optimizer.state.values():\n"
                "            if self.dtype == torch.float32:\n"
                '                slots["exp_avg"].copy_(slots["exp_avg"].bfloat16())\n',
            ),
        ),
        "update",
        "conv1/kernel after step 1",
        precision="float32",
        mode="bf16",
    ),
    Mutation(
        "gradients in bfloat16",
        21,
        "torch",
        MNIST,
        (rounded("self.model.parameters()"),),
        "gradients",
        "dense2/kernel at step 0",
        precision="float32",
    ),
    Mutation(
        "the first layer's gradient alone in bfloat16",
        21,
        "torch",
        MNIST,
        (rounded("[self.tensor('conv1/kernel')]"),),
        "rounding",
        "gradient of conv1/kernel: what half precision could hold",
        precision="float32",
    ),
    Mutation(
        "gradient not zeroed",
        0,
        "torch",
        RISK,
        (
            Edit(
                "engine.py",
                "        self.optimizer.zero_grad()\n        value = self.backward(batch)\n        self.optimizer.step()\n",
                "        value = self.backward(batch)\n        self.optimizer.step()\n",
            ),
        ),
        "tensors",
        "dense1/kernel after step 0",
    ),
    Mutation(
        "dump gives views of the live tensors",
        0,
        "torch",
        RISK,
        (Edit("engine.py", "return np.array(einops.rearrange(", "return np.asarray(einops.rearrange("),),
        "weights",
        "dense1/kernel",
    ),
    Mutation(
        "load keeps the optimizer's state",
        0,
        "torch",
        RISK,
        (
            Edit(
                "engine.py",
                ".copy_(torch.from_numpy(np.ascontiguousarray(ours)))\n        self.reset()\n",
                ".copy_(torch.from_numpy(np.ascontiguousarray(ours)))\n",
            ),
        ),
        "tensors",
        "dense1/kernel after step 0",
    ),
    Mutation(
        "weight decay coupled in AdamW",
        10,
        "torch",
        RISK,
        (Edit("engine.py", "return torch.optim.AdamW(parameters,", "return torch.optim.Adam(parameters,"),),
        "tensors",
        "dense1/kernel after step 0",
    ),
    Mutation(
        "dropout in evaluation",
        16,
        "torch",
        RISK,
        (
            Edit("engine.py", "self.set_training(False)", "self.set_training(True)"),
            Edit("engine.py", "self.forward(batch.x, self.no_masks)", "self.forward(batch.x, batch.masks)"),
        ),
        "logits",
        LOGITS,
    ),
    Mutation(
        "dropout mask not scaled",
        16,
        "torch",
        RISK,
        (Edit("layers.py", "return x * keep if", "return x * (keep > 0) if"),),
        "loss",
        LOSS,
    ),
    Mutation(
        "SAME padding at stride 2",
        1,
        "torch",
        RESNET,
        (
            Edit(
                "cifar_resnet.py",
                "nn.Conv2d(width, channels, 3, stride=self.stride, padding=1,",
                "nn.Conv2d(width, channels, 3, stride=self.stride, padding=2 - self.stride,",
            ),
            Edit(
                "cifar_resnet.py",
                "self.conv1(x)",
                "self.conv1(F.pad(x, (0, self.stride - 1, 0, self.stride - 1)))",
            ),
        ),
        "logits",
        LOGITS,
    ),
    Mutation(
        "shortcut's new channels on one side",
        0,
        "torch",
        RESNET,
        (Edit("cifar_resnet.py", "(0, 0, 0, 0, half, half)", "(0, 0, 0, 0, 0, 2 * half)"),),
        "logits",
        LOGITS,
    ),
    Mutation(
        "BatchNorm momentum is the share kept",
        4,
        "torch",
        RESNET,
        (Edit("layers.py", "momentum=spec.batch_norm_momentum", "momentum=1 - spec.batch_norm_momentum"),),
        "tensors",
        "norm/mean after step 0",
    ),
    Mutation(
        "weight decay decoupled in SGD",
        11,
        "torch",
        RESNET,
        (
            Edit("engine.py", "momentum=spec.momentum, weight_decay=spec.weight_decay,", "momentum=spec.momentum,"),
            Edit(
                "engine.py",
                "        self.optimizer.step()\n",
                "        with torch.no_grad():\n"
                "            for p in self.model.parameters():\n"
                "                p.mul_(1 - lr * self.spec.optimizer.weight_decay)\n"
                "        self.optimizer.step()\n",
            ),
        ),
        "tensors",
        "conv/kernel after step 1",
    ),
    Mutation(
        "weight decay missing in SGD",
        11,
        "torch",
        RESNET,
        (Edit("engine.py", "momentum=spec.momentum, weight_decay=spec.weight_decay,", "momentum=spec.momentum,"),),
        "tensors",
        "conv/kernel after step 0",
    ),
    Mutation(
        "Nesterov momentum",
        12,
        "torch",
        RESNET,
        (Edit("engine.py", "momentum=spec.momentum,", "momentum=spec.momentum, nesterov=True,"),),
        "tensors",
        "conv/kernel after step 0",
    ),
    Mutation(
        "mean written as sum / 32",
        18,
        "torch",
        MNIST,
        (
            Edit(
                "engine.py",
                'return F.cross_entropy(logits, y, reduction="mean")',
                'return F.cross_entropy(logits, y, reduction="sum") / 32',
            ),
        ),
        "gradients",
        "dense2/bias from one example",
    ),
    Mutation(
        "float32: the gradient into the first layer alone through bfloat16",
        21,
        "torch",
        MNIST,
        (
            Edit(
                "mnist_cnn.py",
                "        x = x.flatten(1)",
                "        if x.requires_grad and x.dtype.itemsize == 4:\n"
                "            x.register_hook(lambda g: g.bfloat16().float())\n"
                "        x = x.flatten(1)",
            ),
        ),
        "open",
        "conv1/kernel, all ReLUs open",
        precision="float32",
    ),
    Mutation(
        "a prediction counts as a step",
        13,
        "torch",
        MNIST,
        (Edit("engine.py", "        self.set_training(False)\n", "        self.set_training(False)\n        self.step += 1\n"),),
        "tensors",
        "conv1/kernel after step 0",
    ),
    Mutation(
        "training mode set by load and gradients, not by the step",
        4,
        "torch",
        RESNET,
        (
            Edit("engine.py", "        self.set_training(True)\n        value = loss", "        value = loss"),
            Edit(
                "engine.py",
                "        self.reset()\n\n    def dump",
                "        self.reset()\n        self.set_training(True)\n\n    def dump",
            ),
            Edit(
                "engine.py",
                "        self.optimizer.zero_grad()\n        value = self.backward(batch)\n        grads",
                "        self.optimizer.zero_grad()\n"
                "        self.set_training(True)\n"
                "        value = self.backward(batch)\n"
                "        grads",
            ),
        ),
        "loss",
        "loss of confident logits",
    ),
    Mutation(
        "gradients clipped at a norm of 100",
        0,
        "torch",
        RESNET,
        (
            Edit(
                "engine.py",
                "        self.optimizer.step()\n",
                "        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 100.0)\n        self.optimizer.step()\n",
            ),
        ),
        "tensors",
        "conv/kernel after two steps from certain logits",
    ),
    Mutation(
        "bf16 mode: running statistics in bfloat16",
        21,
        "torch",
        RESNET,
        (
            Edit(
                "engine.py",
                "        self.optimizer.step()\n",
                "        self.optimizer.step()\n"
                "        if self.low and self.dtype == torch.float32:\n"
                "            for b in self.model.buffers():\n"
                "                if b.is_floating_point():\n"
                "                    b.copy_(b.bfloat16())\n",
            ),
            Edit(
                "engine.py",
                "        self.reset()\n\n    def reset",
                "        self.low = mode == 'bf16'\n        self.reset()\n\n    def reset",
            ),
        ),
        "rounding",
        "norm/mean after step 0: what half precision could hold",
        precision="float32",
        mode="bf16",
    ),
    Mutation(
        "predictions remembered until the next load",
        0,
        "torch",
        RISK,
        (
            Edit(
                "engine.py",
                "        self.set_training(False)\n"
                "        with torch.inference_mode():\n"
                "            return self.forward(batch.x, self.no_masks)\n",
                "        self.set_training(False)\n"
                "        with torch.inference_mode():\n"
                "            if id(batch.x) not in self.memo:\n"
                "                self.memo[id(batch.x)] = self.forward(batch.x, self.no_masks)\n"
                "            return self.memo[id(batch.x)]\n",
            ),
            Edit("engine.py", "        self.step = 0\n", "        self.step = 0\n        self.memo = {}\n"),
        ),
        "eval",
        "evaluation logits after step 1",
    ),
    Mutation(
        "dropout in the evaluation of one example",
        16,
        "torch",
        RISK,
        (
            Edit("engine.py", "self.set_training(False)", "self.set_training(len(batch.x) == 1)"),
            Edit("engine.py", "self.forward(batch.x, self.no_masks)", "self.forward(batch.x, batch.masks)"),
        ),
        "eval",
        "evaluation logits of one example",
    ),
    Mutation(
        "float32 mode computes in float64",
        19,
        "torch",
        RISK,
        (
            Edit(
                "engine.py",
                'self.dtype = torch.float64 if precision == "float64" else torch.float32',
                "self.dtype, self.claimed = torch.float64, torch.float64 if precision == 'float64' else torch.float32",
            ),
            Edit(
                "engine.py",
                "        return value\n\n    def set_training",
                "        return value.to(self.claimed)\n\n    def set_training",
            ),
            Edit(
                "engine.py",
                "            return self.forward(batch.x, self.no_masks)\n",
                "            return self.forward(batch.x, self.no_masks).to(self.claimed)\n",
            ),
            Edit("engine.py", "ours = value.detach().cpu().numpy()", "ours = value.detach().to(self.claimed).cpu().numpy()"),
        ),
        "rounding",
        "logits: what float64 rounds to",
        precision="float32",
    ),
    Mutation(
        "own softplus: no gradient where it saturates",
        18,
        "torch",
        RISK,
        (
            Edit(
                "engine.py",
                'F.binary_cross_entropy_with_logits(logits.squeeze(1), y, reduction="mean")',
                "(torch.where(logits.squeeze(1) > 30, logits.squeeze(1), "
                "torch.log1p(torch.exp(logits.squeeze(1)))) - logits.squeeze(1) * y).mean()",
            ),
        ),
        "tensors",
        "dense1/kernel after two steps from certain logits",
    ),
)

JAX = (
    Mutation(
        "one example trained with running statistics",
        5,
        "jax",
        RESNET,
        (
            Edit(
                "layers.py",
                "        if training:\n            mean, var = x.mean",
                "        if training and len(x) > 1:\n            mean, var = x.mean",
            ),
        ),
        "gradients",
        "dense/bias from one example",
    ),
    Mutation(
        "every 16th update skipped",
        0,
        "jax",
        MNIST,
        (
            Edit(
                "engine.py",
                "        params = optax.apply_updates(state.params, updates)\n",
                "        updates = jax.tree.map(lambda u: u * (state.optimizer.count % 16 != 15), updates)\n"
                "        params = optax.apply_updates(state.params, updates)\n",
            ),
        ),
        "steps",
        "loss at step 16",
    ),
    Mutation(
        "gradients clipped at 5, in Adam",
        0,
        "jax",
        MNIST,
        (
            Edit(
                "engine.py", "        return adam(spec, table)", "        return optax.chain(optax.clip(5.0), adam(spec, table))"
            ),
        ),
        "tensors",
        "conv1/kernel after two steps from certain logits",
    ),
    Mutation(
        "ReLU with another slope at 0",
        17,
        "jax",
        MNIST,
        (
            Edit("mnist_cnn.py", "nnx.relu(self.conv1(x))", "jax.numpy.maximum(self.conv1(x), 0)"),
            Edit("mnist_cnn.py", "from flax import nnx", "import jax\nfrom flax import nnx"),
        ),
        "gradients",
        "conv1/bias at biases of 0",
    ),
    Mutation(
        "flatten order: channels first",
        15,
        "jax",
        MNIST,
        (Edit("mnist_cnn.py", "x.reshape(len(x), -1)", "x.transpose(0, 3, 1, 2).reshape(len(x), -1)"),),
        "logits",
        LOGITS,
    ),
    Mutation(
        "dense bias missing",
        14,
        "jax",
        MNIST,
        (
            Edit(
                "mnist_cnn.py",
                "return self.dense2(x)",
                "return x @ self.dense2.kernel[...] + 0 * self.dense2.bias[...]",
            ),
        ),
        "logits",
        LOGITS,
    ),
    Mutation(
        "softmax over the batch",
        18,
        "jax",
        MNIST,
        (
            Edit(
                "engine.py",
                "optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()",
                "-jnp.take_along_axis(jax.nn.log_softmax(logits, axis=0), y[:, None], axis=1).mean()",
            ),
        ),
        "loss",
        LOSS,
    ),
    Mutation(
        "cross-entropy of probabilities clipped at 1e-7",
        18,
        "jax",
        MNIST,
        (
            Edit(
                "engine.py",
                "optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()",
                "-jnp.log(jnp.take_along_axis(jax.nn.softmax(logits), y[:, None], axis=1).clip(1e-7, 1 - 1e-7)).mean()",
            ),
        ),
        "loss",
        "loss of confident logits",
    ),
    Mutation(
        "Adam epsilon inside the bias correction",
        8,
        "jax",
        RISK,
        (Edit("engine.py", "(jnp.sqrt(v) / root + spec.eps)", "((jnp.sqrt(v) + spec.eps) / root)"),),
        "tensors",
        "dense1/kernel after step 0",
    ),
    Mutation(
        "table one step ahead",
        13,
        "jax",
        RISK,
        (Edit("engine.py", "table_row(table, state.count)", "table_row(table, state.count + 1)"),),
        "tensors",
        "dense1/kernel after step 0",
    ),
    Mutation(
        "float64 not enabled",
        19,
        "jax",
        RISK,
        (Edit("engine.py", '"jax_enable_x64", precision == "float64"', '"jax_enable_x64", False'),),
        "weights",
        "dense1/kernel",
    ),
    Mutation(
        "weight decay missing in AdamW",
        10,
        "jax",
        RISK,
        (Edit("engine.py", "        if spec.weight_decay:\n            updates", "        if False:\n            updates"),),
        "tensors",
        "dense1/kernel after step 0",
    ),
    Mutation(
        "dropout not applied in training",
        16,
        "jax",
        RISK,
        (Edit("layers.py", "return x * keep if training else x", "return x"),),
        "loss",
        LOSS,
    ),
    Mutation(
        "SAME padding at stride 2",
        1,
        "jax",
        RESNET,
        (Edit("cifar_resnet.py", "strides=self.stride, padding=1,", 'strides=self.stride, padding="SAME",'),),
        "logits",
        LOGITS,
    ),
    Mutation(
        "BatchNorm running variance biased",
        5,
        "jax",
        RESNET,
        (Edit("layers.py", "self.momentum * (n / (n - 1)) * var", "self.momentum * var"),),
        "tensors",
        "norm/var after step 0",
    ),
    Mutation(
        "running statistics held in bfloat16",
        21,
        "jax",
        RESNET,
        (
            Edit(
                "engine.py",
                "return value, nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))",
                "held = lambda s: s if s.dtype == jnp.float64 else s.astype(jnp.bfloat16).astype(s.dtype)  # noqa: E731\n"
                "            return value, jax.tree.map(held, nnx.to_pure_dict(nnx.state(model, nnx.BatchStat)))",
            ),
        ),
        "rounding",
        "norm/mean after step 0: what half precision could hold",
        precision="float32",
    ),
    Mutation(
        "scan from the last batch to the first",
        0,
        "jax",
        RISK,
        (Edit("engine.py", "batch, unroll=True)\n", "batch, unroll=True, reverse=True)\n"),),
        "eval",
        "evaluation logits after step 9",
        mode="scan",
    ),
    Mutation(
        "scan that carries no optimizer state",
        0,
        "jax",
        RISK,
        (
            Edit(
                "engine.py",
                "step, one = super().traced_train_step, batch.y.ndim == 1",
                "whole, one = super().traced_train_step, batch.y.ndim == 1\n"
                "        begun = state.optimizer._replace(count=state.optimizer.count + 1)\n"
                "\n"
                "        def step(state: State, batch: Batch) -> tuple[State, Array]:\n"
                "            after, value = whole(state, batch)\n"
                "            return after if one else after._replace(optimizer=begun), value\n",
            ),
        ),
        "eval",
        "evaluation logits after step 9",
        mode="scan",
    ),
    Mutation(
        "bf16 mode with a bfloat16 optimizer state",
        21,
        "jax",
        RISK,
        (
            Edit(
                "engine.py",
                "(jax.tree.map(jnp.zeros_like, params) for _ in range(2))",
                "(jax.tree.map(lambda p: jnp.zeros_like(p, jnp.bfloat16 if p.dtype == jnp.float32 else p.dtype), params)"
                " for _ in range(2))",
            ),
            Edit(
                "engine.py",
                "count=state.count + 1, mu=mu, nu=nu)",
                "count=state.count + 1, **{name: jax.tree.map(lambda new, old: new.astype(old.dtype), *pair) for name, pair "
                'in {"mu": (mu, state.mu), "nu": (nu, state.nu)}.items()})',
            ),
        ),
        "update",
        "dense1/kernel after step 1",
        precision="float32",
        mode="bf16",
    ),
    Mutation(
        "no gradient through BatchNorm's statistics",
        4,
        "jax",
        RESNET,
        (
            Edit(
                "layers.py",
                "mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))",
                "mean, var = jax.lax.stop_gradient((x.mean((0, 1, 2)), x.var((0, 1, 2))))",
            ),
        ),
        "gradients",
        "stage3/0/conv2/kernel at step 0",
    ),
    Mutation(
        "lr baked into the velocity",
        12,
        "jax",
        RESNET,
        (
            Edit(
                "engine.py",
                "optax.sgd(lr, momentum=spec.momentum)",
                "optax.scale_by_learning_rate(lr), optax.trace(decay=spec.momentum)",
            ),
        ),
        "tensors",
        "conv/kernel after step 1",
    ),
    Mutation(
        "variance as E[x^2] - E[x]^2",
        6,
        "jax",
        RESNET,
        (Edit("layers.py", "x.var((0, 1, 2))", "(x * x).mean((0, 1, 2)) - x.mean((0, 1, 2)) ** 2"),),
        "offset",
        "conv/kernel, means far from 0",
        precision="float32",
    ),
    Mutation(
        "bias corrections made in the graph, in float32",
        9,
        "jax",
        RISK,
        (
            Edit(
                "engine.py",
                "lr, step_size, root = table_row(table, state.count)",
                "lr, step_size, root = table_row(table, state.count)\n"
                "        t = (state.count + 1).astype(lr.dtype)\n"
                "        step_size, root = lr / (1 - spec.beta1**t), jnp.sqrt(1 - spec.beta2**t)",
            ),
        ),
        "length",
        "all parameters in step 1",
        precision="float32",
    ),
    Mutation(
        "bf16 mode: running variance in bfloat16",
        21,
        "jax",
        RESNET,
        (
            Edit(
                "layers.py",
                "            n = x.size",
                "            var_ = var.astype(compute).astype(x.dtype)\n            n = x.size",
            ),
            Edit(
                "layers.py",
                "self.momentum * (n / (n - 1)) * var\n",
                "self.momentum * (n / (n - 1)) * var_\n"
                "            self.var[...] = self.var[...].astype(compute).astype(x.dtype)\n",
            ),
        ),
        "rounding",
        "norm/var after step 0: what half precision could hold",
        precision="float32",
        mode="bf16",
    ),
    Mutation(
        "predictions from the parameters at the first of them",
        0,
        "jax",
        RISK,
        (
            Edit(
                "engine.py",
                "return self.jit_predict(self.state.params,",
                "self.kept = self.kept or jax.tree.map(jnp.copy, self.state.params)\n        return self.jit_predict(self.kept,",
            ),
            Edit(
                "engine.py",
                "        params: dict[Any, Any] = {}\n",
                "        params: dict[Any, Any] = {}\n        self.kept = None\n",
            ),
        ),
        "eval",
        "evaluation logits after step 0",
    ),
    Mutation(
        "dropout of the first 32 examples alone",
        16,
        "jax",
        RISK,
        (Edit("layers.py", "return x * keep if training", "return x * keep.at[32:].set(1.25) if training"),),
        "loss",
        LOSS,
        precision="float32",
    ),
    Mutation(
        "scan in float32: steps 1 % too long",
        0,
        "jax",
        RISK,
        (
            Edit(
                "engine.py",
                "step, one = super().traced_train_step, batch.y.ndim == 1",
                "whole, one = super().traced_train_step, batch.y.ndim == 1\n"
                "\n"
                "        def step(s, b):\n"
                "            after, value = whole(s, b)\n"
                "            if one or self.dtype == jnp.float64:\n"
                "                return after, value\n"
                "            return after._replace(params=jax.tree.map(lambda new, old: old + (new - old) * "
                "1.01, after.params, s.params)), value\n",
            ),
        ),
        "tensors",
        "dense1/bias after step 9",
        precision="float32",
        mode="scan",
    ),
)

TENSORFLOW = (
    Mutation(
        "gradients clipped at 5, in Adam",
        0,
        "tensorflow",
        MNIST,
        (Edit("engine.py", "v=square.handle, grad=g)", "v=square.handle, grad=tf.clip_by_value(g, -5.0, 5.0))"),),
        "tensors",
        "conv1/kernel after two steps from certain logits",
    ),
    Mutation(
        "ReLU with another slope at 0",
        17,
        "tensorflow",
        MNIST,
        (Edit("mnist_cnn.py", "tf.nn.relu(self.conv1(x))", "tf.maximum(self.conv1(x), 0.0)"),),
        "gradients",
        "conv1/bias at biases of 0",
    ),
    Mutation(
        "flatten order: channels first",
        15,
        "tensorflow",
        MNIST,
        (
            Edit(
                "mnist_cnn.py",
                "tf.reshape(x, (x.shape[0], -1))",
                "tf.reshape(tf.transpose(x, (0, 3, 1, 2)), (x.shape[0], -1))",
            ),
        ),
        "logits",
        LOGITS,
    ),
    Mutation(
        "LeakyReLU for ReLU",
        17,
        "tensorflow",
        MNIST,
        (Edit("mnist_cnn.py", "tf.nn.relu(self.dense1(x))", "tf.nn.leaky_relu(self.dense1(x), 0.01)"),),
        "logits",
        LOGITS,
    ),
    Mutation(
        "labels shifted by one",
        18,
        "tensorflow",
        MNIST,
        (Edit("engine.py", "labels=y, logits=logits)", "labels=(y + 1) % 10, logits=logits)"),),
        "loss",
        LOSS,
    ),
    Mutation(
        "Adam epsilon in Keras's form",
        8,
        "tensorflow",
        MNIST,
        (Edit("engine.py", "epsilon=self.spec.eps * root", "epsilon=tf.constant(self.spec.eps, lr.dtype)"),),
        "tensors",
        "conv1/kernel after step 0",
    ),
    Mutation(
        "Adam without bias correction",
        9,
        "tensorflow",
        MNIST,
        (
            Edit("engine.py", "lr=step_size * root", "lr=lr"),
            Edit("engine.py", "epsilon=self.spec.eps * root", "epsilon=tf.constant(self.spec.eps, lr.dtype)"),
        ),
        "tensors",
        "conv1/kernel after step 0",
    ),
    Mutation(
        "Adam betas not rounded to float32",
        9,
        "tensorflow",
        MNIST,
        (
            Edit("engine.py", "tf.constant(self.spec.beta1, lr.dtype)", "tf.constant(0.9, lr.dtype)"),
            Edit("engine.py", "tf.constant(self.spec.beta2, lr.dtype)", "tf.constant(0.999, lr.dtype)"),
        ),
        "tensors",
        "conv1/kernel after step 0",
    ),
    Mutation(
        "step counter stands still",
        13,
        "tensorflow",
        RISK,
        (
            Edit(
                "engine.py",
                "v=square.handle, grad=g)\n        self.iterations.assign_add(1)\n",
                "v=square.handle, grad=g)\n",
            ),
        ),
        "tensors",
        "dense1/kernel after step 1",
    ),
    Mutation(
        "no weight decay of biases",
        11,
        "tensorflow",
        RISK,
        (Edit("engine.py", "if self.spec.weight_decay:", "if self.spec.weight_decay and len(p.shape) > 1:"),),
        "tensors",
        "dense1/bias after step 0",
    ),
    Mutation(
        "positives weigh more",
        18,
        "tensorflow",
        RISK,
        (
            Edit(
                "engine.py",
                "tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=tf.squeeze(logits, 1))",
                "tf.nn.weighted_cross_entropy_with_logits(labels=y, logits=tf.squeeze(logits, 1), pos_weight=1.01)",
            ),
        ),
        "loss",
        LOSS,
    ),
    Mutation(
        "loss after the step",
        0,
        "tensorflow",
        RISK,
        (
            Edit(
                "engine.py",
                "        self.optimizer.apply(grads, self.variables)\n",
                "        self.optimizer.apply(grads, self.variables)\n        value, _ = self.traced_gradients(batch)\n",
            ),
        ),
        "loss",
        "loss of confident logits",
    ),
    Mutation(
        "SAME padding at stride 2",
        1,
        "tensorflow",
        RESNET,
        (
            Edit("cifar_resnet.py", "self.conv1(self.pad(x))", "self.conv1(x)"),
            Edit("cifar_resnet.py", "strides=self.stride, padding=padding", 'strides=self.stride, padding="same"'),
        ),
        "logits",
        LOGITS,
    ),
    Mutation(
        "shortcut takes the odd pixels",
        0,
        "tensorflow",
        RESNET,
        (Edit("cifar_resnet.py", "x[:, ::2, ::2, :]", "x[:, 1::2, 1::2, :]"),),
        "logits",
        LOGITS,
    ),
    Mutation(
        "eager mode forgets training=False",
        4,
        "tensorflow",
        RESNET,
        (
            Edit(
                "engine.py",
                "self.no_masks, training=False), self",
                "self.no_masks, training=tf.executing_eagerly()), self",
            ),
        ),
        "logits",
        LOGITS,
        mode="eager",
    ),
    Mutation(
        "bf16 mode in float32",
        21,
        "tensorflow",
        RISK,
        (Edit("engine.py", '"mixed_bfloat16" if', '"float32" if'),),
        "rounding",
        "logits too exact for bfloat16",
        precision="bfloat16",
        mode="bf16",
    ),
    Mutation(
        "BatchNorm epsilon 1e-3",
        4,
        "tensorflow",
        RESNET,
        (Edit("layers.py", "spec.batch_norm_eps", "1e-3"),),
        "logits",
        LOGITS,
    ),
    Mutation(
        "training flag in evaluation",
        4,
        "tensorflow",
        RESNET,
        (
            Edit(
                "engine.py",
                "self.model(x, self.no_masks, training=False)",
                "self.model(x, self.no_masks, training=True)",
            ),
        ),
        "logits",
        LOGITS,
    ),
    Mutation(
        "evaluation statistics in training",
        4,
        "tensorflow",
        RESNET,
        (Edit("engine.py", "batch.masks, training=True)", "batch.masks, training=False)"),),
        "loss",
        LOSS,
    ),
    Mutation(
        "evaluation moves BatchNorm's statistics",
        4,
        "tensorflow",
        RESNET,
        (
            Edit(
                "layers.py",
                "            mean, var = self.moving_mean.value, self.moving_variance.value\n",
                "            mean, var = tf.identity(self.moving_mean.value), self.moving_variance.value\n"
                "            self.moving_mean.assign(0.9 * mean + 0.1 * tf.reduce_mean(x, (0, 1, 2)))\n",
            ),
        ),
        "tensors",
        "norm/mean after step 0",
    ),
    Mutation(
        "lr baked into the velocity: Keras's kernel",
        12,
        "tensorflow",
        RESNET,
        (Edit("engine.py", "tf.raw_ops.ResourceApplyMomentum(", "tf.raw_ops.ResourceApplyKerasMomentum("),),
        "tensors",
        "conv/kernel after step 1",
    ),
    Mutation(
        "Bessel's correction for a batch of 8",
        5,
        "tensorflow",
        RESNET,
        (
            Edit(
                "layers.py",
                "n = x.shape[:-1].num_elements()",
                "n = 8 * x.shape[1] * x.shape[2]",
            ),
        ),
        "statistics",
        "norm/var after step 0",
        precision="float32",
    ),
    Mutation(
        "variance as E[x^2] - E[x]^2",
        6,
        "tensorflow",
        RESNET,
        (
            Edit(
                "layers.py",
                "mean, var = tf.nn.moments(x, (0, 1, 2))",
                "mean = tf.reduce_mean(x, (0, 1, 2))\n            var = tf.reduce_mean(x * x, (0, 1, 2)) - mean * mean",
            ),
        ),
        "offset",
        "conv/kernel, means far from 0",
        precision="float32",
    ),
    Mutation(
        "float32: biased running variance",
        5,
        "tensorflow",
        RESNET,
        (
            Edit(
                "layers.py",
                "self.momentum * (n / (n - 1)) * var",
                "self.momentum * (n / (n - (1 if x.dtype == tf.float64 else 0))) * var",
            ),
        ),
        "statistics",
        "norm/var after step 0",
        precision="float32",
    ),
    Mutation(
        "bias corrections made in the graph, in float32",
        9,
        "tensorflow",
        RISK,
        (
            Edit(
                "engine.py",
                "beta1_power=zero",
                "beta1_power=tf.pow(tf.constant(self.spec.beta1, lr.dtype), tf.cast(self.iterations + 1, lr.dtype))",
            ),
            Edit(
                "engine.py",
                "beta2_power=zero",
                "beta2_power=tf.pow(tf.constant(self.spec.beta2, lr.dtype), tf.cast(self.iterations + 1, lr.dtype))",
            ),
            Edit("engine.py", "lr=step_size * root", "lr=lr"),
        ),
        "length",
        "all parameters in step 1",
        precision="float32",
    ),
    Mutation(
        "ReLU6 for ReLU",
        17,
        "tensorflow",
        RISK,
        (Edit("risk_mlp.py", "tf.nn.relu(self.dense1(x))", "tf.nn.relu6(self.dense1(x))"),),
        "open",
        "dense1/kernel, all ReLUs open",
        precision="float32",
    ),
    Mutation(
        "predictions from the parameters at the first of them",
        0,
        "tensorflow",
        RISK,
        (
            Edit(
                "engine.py",
                "        return self.graph_predict(batch.x)\n",
                "        if not self.snapshot:\n"
                "            self.snapshot = [tf.identity(v.value) for v in self.variables]\n"
                "        now = [tf.identity(v.value) for v in self.variables]\n"
                "        for v, s in zip(self.variables, self.snapshot): v.assign(s)\n"
                "        found = self.graph_predict(batch.x)\n"
                "        for v, s in zip(self.variables, now): v.assign(s)\n"
                "        return found\n",
            ),
            Edit(
                "engine.py",
                "        for slot in self.optimizer.variables:\n            slot",
                "        self.snapshot = []\n        for slot in self.optimizer.variables:\n            slot",
            ),
        ),
        "eval",
        "evaluation logits after step 0",
    ),
)

MUTATIONS = (*TORCH, *JAX, *TENSORFLOW)
