"""Efficient vision transformers: search them without training, run each image at its own length."""


def from_pretrained(folder):
    """The model in a folder that `vintk export` has written in the Hugging Face layout; see
    `vintk_jax.exporting.pretrained.from_pretrained`.
    """
    # Imported when asked for: commands set JAX up before it is imported.
    from vintk_jax.exporting.pretrained import from_pretrained as read

    return read(folder)
