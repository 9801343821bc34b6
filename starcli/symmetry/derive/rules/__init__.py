"""How each ATen operator carries labels of atoms from its operands to its results."""
