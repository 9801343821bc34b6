"""How each ATen operator carries labels of atoms from its operands to its results.

all_rules.py      the table: a file that registers rules is imported there
elementwise.py    each position by itself; shape.py: positions moved about; write.py: values put into a part
contraction.py    products and sums; reduce.py: sums, pools and choices along axes; normalise.py: normalisations
recurrent.py      recurrent layers
index.py          look-ups; named_units.py: integers that name units
"""
