"""Mean and deviation of the log-mel spectrograms of a data set, for normalising its sound."""

import math
import pathlib
from collections.abc import Iterator

import numpy as np

from av_mae.input import record, records

# The published recipes normalise 128 mel bands.
_MELS = 128
_HOP = 160  # that of `preprocess.audio`, which loads JAX
# Longest piece of sound that is transformed at once, and pieces in a batch.
_COLUMNS = 1000
_BATCH = 16
# Clips that count, and what counts of each; it bounds the memory that long ones take.
_MOST, _SECONDS = 1000, 20


def log_mel(folder: pathlib.Path, split: records.Split) -> tuple[float, float] | None:
    """(mean, deviation) over the first 20 s of up to 1,000 clips, evenly spread over a split.

    None if the split has no sound, or if its sound is all the same.
    """
    # Loads JAX, which nothing else here needs.
    import jax.numpy as jnp

    from av_mae.preprocess import audio

    waves = list(_waves(folder, split))
    if not waves:
        return None
    # Pieces of one size for the compiler; only whole columns count.
    columns = min(_COLUMNS, max(len(wave) // _HOP for wave in waves))
    size = columns * _HOP
    pieces = [wave[i : i + size] for wave in waves for i in range(0, len(wave), size)]
    count, total, squares = 0, 0.0, 0.0
    for i in range(0, len(pieces), _BATCH):
        batch = pieces[i : i + _BATCH]
        batch_bs = np.zeros((_BATCH, size), np.float32)
        for row, piece in zip(batch_bs, batch, strict=False):
            row[: len(piece)] = piece / np.float32(32768)
        values_btm = np.asarray(audio.log_mel(jnp.asarray(batch_bs), _MELS, columns))
        for x_tm, piece in zip(values_btm, batch, strict=False):
            values = x_tm[: len(piece) // _HOP]
            count += values.size
            total += float(values.sum(dtype=np.float64))
            squares += float(np.square(values, dtype=np.float64).sum())
    mean = total / count
    variance = squares / count - mean**2
    # Nothing but digital silence has no scale to normalise with.
    return (mean, math.sqrt(variance)) if variance > 1e-6 else None


def _waves(folder: pathlib.Path, split: records.Split) -> Iterator[np.ndarray]:
    """int16 `[s]` of the clips that count, without those shorter than a column."""
    count = min(_MOST, split.clips)
    chosen = {i * split.clips // count for i in range(count)}
    first = 0
    for shard in split.shards:
        offsets = records.read_index(folder, shard)
        ends = np.append(offsets[1:], shard.bytes)
        with (folder / shard.file).open("rb") as file:
            for i in range(shard.clips):
                if first + i in chosen:
                    file.seek(int(offsets[i]))
                    framed = file.read(int(ends[i] - offsets[i]))
                    wave = record.decode(framed[12:-4]).audio  # without TFRecord's framing
                    if wave is not None and len(wave) >= _HOP:
                        yield wave[: _SECONDS * records.SAMPLE_RATE]
        first += shard.clips
