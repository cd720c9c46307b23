"""Which crashes are the same: normalise, signature."""
