"""Commands on trained models and on experiments: they parse flags, call the library and print."""
