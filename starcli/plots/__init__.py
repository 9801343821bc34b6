"""Figures, as the bytes of a file.

draw.py        rows in, bytes out: which figure rows of a type have; begin here. rows.py: what figures read of a row
*_figure       one figure each; bundles.py: lines that barrier_figure.py draws together
style.py       what all figures share; look.py: width and font; parts.py: legends, numbers, reference lines
ruler.py       words that fit; loss_words.py: what losses are called
"""
