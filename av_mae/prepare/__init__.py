"""Media files to records: decodes every clip once, checks it, and writes shards."""

import importlib.util

if importlib.util.find_spec("av") is None:
    raise ModuleNotFoundError(
        "reading media files needs PyAV; install it with: pip install 'av_mae[prepare]'"
    )
