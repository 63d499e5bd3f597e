"""How fast and how large: each workload beside the loop that one would write by hand, in the same run."""
