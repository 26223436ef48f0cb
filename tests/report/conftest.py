"""Made-up searches."""

import pytest

from vintk_jax.scored_candidate import ScoredCandidate


def _candidate(number: int, score: float, **fields) -> ScoredCandidate:
    depth = 12 + number % 3
    arch = {
        "embed_dim": 192,
        "depth": depth,
        "num_heads": [3 + (i * number) % 2 for i in range(depth)],
        "mlp_ratio": [4 if i % 3 else 3.5 for i in range(depth)],
    }
    values = {
        "number": number,
        "arch": arch,
        "score": score,
        "scores": [score - 0.5, score + 0.5],
        "params": 5_000_000 + 10_007 * number,
        "flops": 1_200_000_000 + 1_000_003 * number,
        "seconds": 0.25,
    }
    return ScoredCandidate(**values | fields)


@pytest.fixture
def candidate():
    """Makes a candidate of a number and a score; further fields replace the made-up ones."""
    return _candidate


@pytest.fixture
def candidates():
    """Thirty, of scores 0 to 29 in no order."""
    return [_candidate(number, float(number * 7 % 30)) for number in range(30)]
