"""The layers whose stock form differs from the spec, as two sets that a model is built from."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from harness.spec import ModelSpec

SEED = 0  # of the stock dropout; set by engine.configure
New = dict[str, Any]  # what every flax layer is given: "dtype" to compute in, "param_dtype" to hold, "rngs"


class MaskDropout(nnx.Module):
    """Dropout by a mask drawn outside: 0, or 1/(1-rate)."""

    def __call__(self, x: Array, keep: Array | None, *, training: bool) -> Array:
        """X (B, C), keep (B, C)."""
        return x * keep if training else x


class StockDropout(nnx.Dropout):
    """flax's own dropout; takes a random key in the place of the mask."""

    def __call__(self, x: Array, keep: Array | None, *, training: bool) -> Array:
        """X (B, C)."""
        return super().__call__(x, deterministic=not training, rngs=keep)


def keys(step: Array, spec: ModelSpec) -> tuple[Array, ...]:
    """A random key for each stock dropout, another every step."""
    return tuple(jax.random.split(jax.random.fold_in(jax.random.key(SEED), step), len(spec.dropout)))


class BatchNorm(nnx.Module):
    """Normalise by the biased batch variance, keep the unbiased one: flax keeps the biased."""

    def __init__(self, channels: int, spec: ModelSpec, new: New) -> None:
        """Parameters and running statistics, (C,) each."""
        dtype = new["param_dtype"]
        self.eps, self.momentum = spec.batch_norm_eps, spec.batch_norm_momentum
        self.scale = nnx.Param(jnp.ones(channels, dtype))
        self.bias = nnx.Param(jnp.zeros(channels, dtype))
        self.mean = nnx.BatchStat(jnp.zeros(channels, dtype))
        self.var = nnx.BatchStat(jnp.ones(channels, dtype))

    def __call__(self, x: Array, *, training: bool) -> Array:
        """X (B, S, S, C)."""
        compute, x = x.dtype, x.astype(self.scale.dtype)
        if training:
            mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
            n = x.size // x.shape[-1]
            self.mean[...] = (1 - self.momentum) * self.mean[...] + self.momentum * mean
            self.var[...] = (1 - self.momentum) * self.var[...] + self.momentum * (n / (n - 1)) * var
        else:
            mean, var = self.mean[...], self.var[...]
        y = (x - mean) * (jax.lax.rsqrt(var + self.eps) * self.scale[...]) + self.bias[...]
        return y.astype(compute)


class StockBatchNorm(nnx.BatchNorm):
    """flax's own BatchNorm with its default constants, called as the spec's."""

    def __call__(self, x: Array, *, training: bool) -> Array:
        """X (B, S, S, C)."""
        return super().__call__(x, use_running_average=not training)


class Layers(NamedTuple):
    """What a model takes from here."""

    batch_norm: Callable[[int, ModelSpec, New], nnx.Module]  # channels, spec, new
    dropout: Callable[[ModelSpec], nnx.Module]


EXACT = Layers(batch_norm=BatchNorm, dropout=lambda spec: MaskDropout())
STOCK = Layers(
    batch_norm=lambda channels, spec, new: StockBatchNorm(channels, **new),
    dropout=lambda spec: StockDropout(spec.dropout_rate),
)
