"""Runs untrusted programs and reports what happened. Knows nothing of benchmarks and imports nothing else of unmask."""
