"""`python -m nvisy` is the command `nvisy`."""

from nvisy.cli.main import main

main()
