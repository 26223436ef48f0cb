"""How the default score was chosen: docs/score_protocol.md."""
