"""Encoder, fusion, decoder and heads: what turns inputs into tokens and tokens into predictions."""
