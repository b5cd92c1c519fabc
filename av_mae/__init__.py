"""Masked autoencoders of video and sound: load a trained model and run it on a media file.

In five lines:

    import av_mae
    clip = av_mae.read_clip("clip.mp4")
    model = av_mae.load("runs/finetune")
    model.classify(clip, top=5)
    model.features(clip)["pooled"]
"""

import importlib
from typing import TYPE_CHECKING, Any

from av_mae.version import __version__

if TYPE_CHECKING:
    from av_mae.api import Clip, Model, Reconstruction, Timeline, load, read_clip

__all__ = ["Clip", "Model", "Reconstruction", "Timeline", "__version__", "load", "read_clip"]


def __getattr__(name: str) -> Any:
    """Loads the API, and with it jax, at first use: `import av_mae` itself costs nothing."""
    if name in __all__:
        return getattr(importlib.import_module("av_mae.api"), name)
    raise AttributeError(f"module 'av_mae' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
