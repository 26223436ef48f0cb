"""What the worker says of each image that it has answered: its ticket and place, the number of the
length (cheapest first from 0), milliseconds.
"""

import numpy as np

ROW = np.dtype(
    [
        ("ticket", "<u8"),
        ("index", "<u4"),
        ("length", "<i4"),
        ("waited", "<f4"),
        ("run", "<f4"),
    ]
)
