"""Weight matching: which unit of one network corresponds to which of another."""
