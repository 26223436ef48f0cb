"""Images, maps and clips: where they come from and how they are made ready.

A set is opened by `sources` (images), `pairs` (images with maps of classes) or `clips`. `folders`
says which files belong to it and by which endings, `archives` opens npz files and TensorFlow
Datasets, `pixels` decodes. `augment` and its like make an element ready, `loader` makes batches.
"""
