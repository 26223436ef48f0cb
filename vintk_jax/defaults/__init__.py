"""The fields of every command's config, each defined once: default value, meaning, and a rule for
what it may be (`field`). Config files are filled from these tables and change values.
"""
