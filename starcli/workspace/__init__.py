"""What the models, data and flags of one command agree on, and the plan of a file to be made."""
