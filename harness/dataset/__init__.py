"""Judged rollouts as datasets: schema, writing and reading, views for other trainers, the dataset card."""
