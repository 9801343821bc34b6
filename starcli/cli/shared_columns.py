"""Columns that tables of several commands have: what is worth a word only where it is not as usual."""

from starcli.cli.framework.columns import Column

PRECISION = Column("precision", "precision", common=True, usual="fp32")
"""In what arithmetic figures were measured."""

LOSS_KIND = Column("loss_kind", "kind of loss", common=True)
"""What losses are, where they are not cross-entropies in nats."""

RENORMALISED = Column("renormalise", "renormalised", common=True, usual="recalibrate")
"""How points between models were renormalised."""
