"""Mathematical answers: refusing hostile ones, normalising, reading and comparing them by type.

One module per stage, in the order in which `cascade` uses them: `guard`, `normal`, `tokens` and `parse` (text to tree), `exact`
(rational values), `typed` (comparison by type), `evaluate` (values to many digits), `symbolic` (math-verify and sympy).
"""
