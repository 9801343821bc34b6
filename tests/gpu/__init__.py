"""What needs a card to be seen: `python -m tests.gpu` checks and measures all of it in one short visit."""
