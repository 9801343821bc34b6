"""Options: single ones that several commands have, and bundles of those that always go together."""
