"""Media files to records: decodes every clip once, checks it, and writes shards."""
