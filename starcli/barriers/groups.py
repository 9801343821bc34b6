"""Names of the groups of pairs between which a star is judged."""

TRAINED = "star-source (training)"
"""The group of star and sources as the star's training left them."""

UNALIGNED = "regular-regular (unaligned)"
"""The group of regular pairs as their files are."""
