"""From a checked graph to a plan: stages cut at topics, printable before anything runs."""
