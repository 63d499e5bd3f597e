"""What every test of the project has at hand, the connectors' tests too."""

pytest_plugins = ["tests.servers.fixtures"]
