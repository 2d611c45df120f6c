"""The file for verl: custom_reward_function.path=<this file> custom_reward_function.name=compute_score.

verl loads it by its path, outside of any package; hence the absolute import.
"""

from unmask.rewards.adapters.score import compute_score

__all__ = ["compute_score"]
