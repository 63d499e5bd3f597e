"""What tests of connectors and graphs build on: conformance suites, and data to write and search."""
