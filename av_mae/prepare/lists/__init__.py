"""The official lists of public data sets, and the media files that belong to their clips."""
