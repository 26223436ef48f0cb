"""Fields that several configs share, with their meanings: the comment behind `config.a.b = value`
is what --help shows.
"""
