"""Host side: records in, batches of uint8 frames and int16 sound out (tf.data)."""

import os

# TensorFlow only moves bytes here; its notes on what it could compute faster are left out.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
