"""Where PHP keeps its global structures, by one means after the other; each find says how it was made."""
