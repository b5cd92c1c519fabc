"""A single clip: read from a media file, cut into the views that a model takes, shown again."""
