"""What the two GPU trainers of sparse autoencoders share: a block of latents on a block of tokens, in Triton.

Codes and masks exist for one such block at a time, in registers. Importing this module needs triton.
"""

from __future__ import annotations

import triton
import triton.language as tl


def padded(size: int) -> int:
    """The power of two of at least 16 that an axis takes on the matrix units."""
    return max(16, triton.next_power_of_2(size))


@triton.jit
def read(at, row, column, n, d):
    """The five parts of a flat vector that concern some latents: enc, dec, b_enc, log_threshold, b_dec."""
    cell = row[:, None] * d + column[None, :]
    is_row, is_column = row < n, column < d
    inside = is_row[:, None] & is_column[None, :]
    enc = tl.load(at + cell, mask=inside, other=0.0)
    dec = tl.load(at + n * d + cell, mask=inside, other=0.0)
    b = tl.load(at + 2 * n * d + row, mask=is_row, other=0.0)
    h = tl.load(at + 2 * n * d + n + row, mask=is_row, other=0.0)
    o = tl.load(at + 2 * n * d + 2 * n + column, mask=is_column, other=0.0)
    return enc, dec, b, h, o


@triton.jit
def write(at, row, column, n, d, parts, last):
    """Store what :func:`read` gave; the last part, which no latent owns, only where ``last``."""
    cell = row[:, None] * d + column[None, :]
    is_row, is_column = row < n, column < d
    inside = is_row[:, None] & is_column[None, :]
    tl.store(at + cell, parts[0], mask=inside)
    tl.store(at + n * d + cell, parts[1], mask=inside)
    tl.store(at + 2 * n * d + row, parts[2], mask=is_row)
    tl.store(at + 2 * n * d + n + row, parts[3], mask=is_row)
    tl.store(at + 2 * n * d + 2 * n + column, parts[4], mask=is_column & last)


@triton.jit
def encode(x, enc, b, theta, allowed, JUMP: tl.constexpr):
    """Pre-activations and which of them pass, where ``allowed`` (neither token nor latent is padding)."""
    p = tl.dot(x, tl.trans(enc), input_precision="ieee") + b[None, :]
    on = (p > 0.0) & allowed
    if JUMP:
        on = on & (p > theta[None, :])
    return p, on


@triton.jit
def send_back(p, on, error, dec, theta, allowed, batch, l1, l0, bandwidth, JUMP: tl.constexpr):
    """Gradient of the pre-activations, and of the logarithm of the thresholds: dense_sae._tile, blockwise."""
    back = (2.0 * tl.dot(error, tl.trans(dec), input_precision="ieee") + l1) / batch
    slope = tl.zeros_like(theta)
    if JUMP:
        near = (tl.abs(p - theta[None, :]) < 0.5 * bandwidth) & allowed
        slope -= tl.sum(tl.where(near, theta[None, :] * back + l0 / batch, 0.0), axis=0) * theta / bandwidth
    return tl.where(on, back, 0.0), slope


@triton.jit
def aside(g_dec, dec):
    """What of a gradient of decoder rows changes their direction."""
    return g_dec - tl.sum(g_dec * dec, axis=1)[:, None] * dec


@triton.jit
def advance(p, m, v, g, shrink, lr, c1, c2, beta1, beta2, eps):
    """A step of Adam on all five parts, and the decoder back on the unit sphere: parts and moments."""
    enc, enc_m, enc_v = adam(p[0], m[0], v[0], g[0] * shrink, lr, c1, c2, beta1, beta2, eps)
    dec, dec_m, dec_v = adam(p[1], m[1], v[1], g[1] * shrink, lr, c1, c2, beta1, beta2, eps)
    b, b_m, b_v = adam(p[2], m[2], v[2], g[2] * shrink, lr, c1, c2, beta1, beta2, eps)
    h, h_m, h_v = adam(p[3], m[3], v[3], g[3] * shrink, lr, c1, c2, beta1, beta2, eps)
    o, o_m, o_v = adam(p[4], m[4], v[4], g[4] * shrink, lr, c1, c2, beta1, beta2, eps)
    dec /= tl.maximum(tl.sqrt(tl.sum(dec * dec, axis=1)), 1e-12)[:, None]
    return (enc, dec, b, h, o), (enc_m, dec_m, b_m, h_m, o_m), (enc_v, dec_v, b_v, h_v, o_v)


@triton.jit
def adam(p, m, v, g, lr, c1, c2, beta1, beta2, eps):
    """One update; returns parameter and moments. ``c1, c2`` are one less the powers of the betas."""
    m = beta1 * m + (1.0 - beta1) * g
    v = beta2 * v + (1.0 - beta2) * g * g
    return p - lr * (m / c1) / (tl.sqrt(v / c2) + eps), m, v
