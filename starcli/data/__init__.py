"""Data sets by name: loading, splitting, batches, augmentation.

registry/data_sets.py names the data sets and their loaders, most of them a file each (digits.py, folder.py, ...).

names.py         a name as people type it; dataset.py: the data set that it opens; in_memory.py: one without a name
loading.py       what all loaders take and return
tables.py        what loaders of one kind of file share; so do image_files.py, image_parts.py, encoded_images.py,
                 arrays.py, tar_shards.py and tar_examples.py
targets.py       what is predicted: classes, numbers, labels; tokens.py: tokens
splits.py        a split in memory, read in batches; streaming.py: one that is decoded as it is read
unlabelled.py    inputs to predict on
"""
