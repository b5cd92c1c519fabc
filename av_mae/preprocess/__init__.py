"""From uint8 frames and int16 sound to model inputs, on the device and jitted with the step."""
