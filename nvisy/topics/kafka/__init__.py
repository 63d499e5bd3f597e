"""The log on Kafka, or on what speaks its protocol: the only folder that imports `confluent_kafka`."""

from nvisy.topics.kafka.log import KafkaLog, connect_kafka

__all__ = ["KafkaLog", "connect_kafka"]
