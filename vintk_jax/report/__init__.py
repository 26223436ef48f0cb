"""Tables, pages and pictures of every command, and the live line while it works."""

from vintk_jax.report.progress import Progress
from vintk_jax.report.search_page import write_search_report
from vintk_jax.report.search_picture import write_search_picture
from vintk_jax.report.search_table import best_table

__all__ = ["Progress", "best_table", "write_search_picture", "write_search_report"]
