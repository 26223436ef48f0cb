"""The search over architectures, by Optuna's ask and tell. It resumes exactly and is shared between
processes.

`sampler` proposes, `run` is the loop, `ledger` says which process scores what, `results` writes the
files.
"""
