"""Media files read into memory: pictures and sound of a clip on one clock (PyAV)."""

import importlib.util

if importlib.util.find_spec("av") is None:
    raise ModuleNotFoundError(
        "reading media files needs PyAV; install it with: pip install av scipy tqdm"
    )
