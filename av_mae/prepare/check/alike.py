"""Clips that look alike: copies that were encoded anew, scaled, or had their sound removed.

Three pictures of a clip are hashes of 64 bits each (`measure`). Encoding anew changes a few of the
192 bits, so clips are compared that share a sixth of them: where at most five differ, one sixth at
least is the same.
"""

from collections.abc import Iterator

import numpy as np

# What may differ: bits for each picture that is not flat, and the loudness and the peak, in dB.
_BITS, _LOUDNESS, _PEAK = 5 / 3, 0.2, 1.0
# Clips that share a sixth are compared with so many that follow, as in sets of one fixed camera.
_NEXT = 200


def pairs(rows: np.ndarray) -> Iterator[tuple[int, int]]:
    """Indices of clips that look alike, each pair once; those of equal pictures are none.

    Clips are of the same length, and sound the same where both have sound.

    Args:
        rows: `[clips]` of `measure.COLUMNS`.
    """
    sixths = rows["look"].view("u4").reshape(len(rows), -1)
    found: set[tuple[int, int]] = set()
    for sixth in sixths.T:
        key = sixth.astype(np.uint64) << np.uint64(32) | rows["frames"].astype(np.uint64)
        order = np.argsort(key, kind="stable")
        order = order[sixth[order] != 0]
        for step in range(1, min(_NEXT, len(order))):
            a, b = order[:-step], order[step:]
            same = key[a] == key[b]
            if not same.any():
                break
            a, b = a[same], b[same]
            alike = _alike(rows[a], rows[b])
            found.update(zip(a[alike].tolist(), b[alike].tolist(), strict=True))
    yield from sorted(found)


def _alike(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Whether the clips of two rows look alike, one by one."""
    seen = (a["look"] != 0) & (b["look"] != 0)
    both = ((a["look"] != 0) == (b["look"] != 0)).all(axis=1)
    different = np.bitwise_count(a["look"] ^ b["look"]).sum(axis=1)
    silent = np.isneginf(a["rms"]) | np.isneginf(b["rms"])
    with np.errstate(invalid="ignore"):  # NaN, where one has no sound, is larger than nothing
        other_sound = np.abs(a["rms"] - b["rms"]) > _LOUDNESS
        other_sound |= np.abs(a["peak"] - b["peak"]) > _PEAK
    near = different <= np.floor(_BITS * seen.sum(axis=1))
    return both & near & ~(other_sound & ~silent) & (a["pictures"] != b["pictures"])
