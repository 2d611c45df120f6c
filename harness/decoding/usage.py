"""What an engine did beside the rollouts: how full its forward passes were, and what its cache took."""

from dataclasses import dataclass


@dataclass(slots=True)
class Usage:
    """Counted while `Model.generate` runs.

    `rows` are those that the passes computed, padding included, `used` those of unfinished requests, `least` the smallest share
    of one pass; `bytes_read` is the size of the keys and values that the passes attended to, `cache_bytes` the most that the
    cache took.
    """

    passes: int = 0
    rows: int = 0
    used: int = 0
    least: float = 1.0
    bytes_read: int = 0
    cache_bytes: int = 0

    @property
    def share(self) -> float:
        """The share of all rows that unfinished requests had."""
        return self.used / self.rows if self.rows else 1.0

    def count(self, used: int, rows: int, bytes_read: int, cache_bytes: int) -> None:
        """Add a pass."""
        self.passes += 1
        self.rows += rows
        self.used += used
        self.least = min(self.least, used / rows)
        self.bytes_read += bytes_read
        self.cache_bytes = max(self.cache_bytes, cache_bytes)
