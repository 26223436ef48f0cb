"""What a pre-norm transformer block costs, as a formula that the spaces share.

The definition of multiply-adds is `vintk_jax.multiply_adds`, which reads them off a trace.
`conformance` compares the two.
"""

from vintk_jax.spaces.by_choices import Cost


def block_cost(embed: int, inner: int, hidden: int, tokens: int) -> Cost:
    """Parameters, and multiply-adds of matrix products and attention, of one block.

    Args:
        embed: width of a token.
        inner: heads times width of a head.
        hidden: width of the MLP.
        tokens: how many there are; all attend to all.
    """
    params = block_params(embed, inner, hidden)
    linear = tokens * (4 * embed * inner + 2 * embed * hidden)
    attention = 2 * tokens**2 * inner
    return Cost(params, linear + attention)


def block_params(embed: int, inner: int, hidden: int) -> int:
    """Parameters of two norms, the four matrices of attention and the two of the MLP."""
    norms = 4 * embed
    attention = (embed + 1) * 3 * inner + (inner + 1) * embed
    mlp = (embed + 1) * hidden + (hidden + 1) * embed
    return norms + attention + mlp
