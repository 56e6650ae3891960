"""Elementwise work on large batches, near the machine's limit."""
