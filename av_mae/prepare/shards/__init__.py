"""From a list of clips to a folder of shards: planned, written, resumed, on one machine or many."""
