"""Re-reads finished records and says what is in them and what is wrong."""
