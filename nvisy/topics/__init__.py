"""Topics: the log that every stage reads from and appends to, on Kafka or embedded."""
