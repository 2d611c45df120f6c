"""Trainers consume the harness's rollouts. Imports harness; nothing imports trainers: the command line finds one by name."""
