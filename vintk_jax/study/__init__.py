"""Searches over Optuna's ask and tell that resume exactly and are shared between processes."""
