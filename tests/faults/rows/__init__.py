"""One module per row of the matrix; each has a `ROW`. See the README of this package."""
