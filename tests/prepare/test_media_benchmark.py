"""What records are measured against really decodes the clip that it was asked for."""

import made_media
import numpy as np

from av_mae.config import modality, schema
from benchmarks import media


def test_a_clip_of_a_file_is_a_window_of_it_with_its_sound(tmp_path):
    pictures = [made_media.picture(i) for i in range(50)]
    wave = made_media.click(0.5, 2.0)
    path = tmp_path / "clip.mp4"
    made_media.write(path, pictures, wave=wave)
    wanted = media.Input(
        modality.Video(frames=4, stride=5, size=32, patch=(2, 16, 16)),
        modality.Audio(seconds=2.0, mels=16),
        schema.Augment(),
        seconds=2.0,
    )
    rng, starts = np.random.default_rng(0), set()
    for _ in range(6):
        clip = media.pyav_clip(path, wanted, rng)
        assert clip["video"].shape == (4, 32, 32, 3) and clip["audio"].shape == (32_000,)
        shown = [made_media.number_of(picture) for picture in clip["video"]]
        # Its conversion of colours is coarser than that of the preparation.
        assert np.abs(np.diff(shown) - 5).max() <= 1
        starts.add(shown[0])
        assert abs(made_media.onset(clip["audio"] / 32768) - 0.5) < 0.01
    assert len(starts) > 3
