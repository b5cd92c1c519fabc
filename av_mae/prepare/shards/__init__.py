"""From a list of clips to a folder of shards: assigned, written, resumed, by one host or many."""
