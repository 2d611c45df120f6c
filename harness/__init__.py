"""Models, decoding, the rollout engine, runs, records, statistics, command line. Imports sandbox, rewards, benchmarks."""
