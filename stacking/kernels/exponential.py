"""exp in single precision as a loop that vectorizes, where a library call does not."""

# mypy: ignore-errors

import numpy as np

from stacking.kernels.compiling import fusing


@fusing
def falling_exponentials(logits, n, mantissa, bits):
    """Set ``mantissa`` and ``bits``, the first ``n`` of each, so that exp(−|logit|) = mantissa · 2^k.

    ``bits`` (int32) holds 2^k as float32 would store it: multiply by ``bits.view(np.float32)``. With a = −|logit|,
    exp(a) is 2^k · exp(r), |r| ≤ ln 2 / 2, with the polynomial of Cephes' ``expf`` (S. L. Moshier, "Methods and
    Programs for Mathematical Functions", 1989). Below −80 it stays at exp(−80), so that 2^k is a normal number.
    """
    for j in range(n):
        a = max(-abs(logits[j]), np.float32(-80.0))
        k = np.floor(a * np.float32(1.44269504) + np.float32(0.5))
        r = (a - k * np.float32(0.693359375)) - k * np.float32(-2.12194440e-4)
        p = np.float32(1.9875691500e-4)
        p = p * r + np.float32(1.3981999507e-3)
        p = p * r + np.float32(8.3334519073e-3)
        p = p * r + np.float32(4.1665795894e-2)
        p = p * r + np.float32(1.6666665459e-1)
        p = p * r + np.float32(5.0000001201e-1)
        mantissa[j] = p * r * r + r + np.float32(1.0)
        bits[j] = (np.int32(k) + np.int32(127)) << np.int32(23)
