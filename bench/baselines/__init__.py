"""The loops that one would write by hand: as fast as they can be made with the same libraries, and no more careful."""
