"""What tests of connectors and graphs build on: conformance suites, and data to write and search."""

import sys

if "pytest" in sys.modules:  # so that a failing assert of a suite shows its values
    sys.modules["pytest"].register_assert_rewrite("nvisy.testing.sink_conformance")
