"""`python -m openledger_node` is `oln`."""

from openledger_node.cli.main import main

if __name__ == "__main__":
    main()
