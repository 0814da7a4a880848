"""`python -m rollout`: the command line."""

from rollout.cli.main import main

main()
