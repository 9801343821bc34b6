"""Names of the groups of pairs between which a star is judged."""

REGULAR, TO_SOURCES, TO_HELD_OUT = "regular-regular", "star-source", "star-held-out"

TRAINED = f"{TO_SOURCES} (training)"
"""The group of star and sources as the star's training left them."""

UNALIGNED = f"{REGULAR} (unaligned)"
"""The group of regular pairs as their files are."""
