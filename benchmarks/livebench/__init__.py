"""LiveBench: its public tasks, each scored by its own rule, without a language model as judge.

`task` says which questions make up a release, `verifier` judges an answer; one module per category holds the scorers. Under
the rule "official" a scorer does what LiveBench @ b0fb577b does, faults included; under "default" known faults are mended.
"""
