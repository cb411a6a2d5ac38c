#!/bin/sh
# Creates the topics of the warehouse, and grants the relay and the warehouse only the permissions they use.
# Tests compare its names with the programs'; it has not been run against a Kafka cluster.
#
#   BOOTSTRAP=kafka-1:9092 ADMIN=admin.properties sh setup.sh
#
# The users are those of ANALYTICS_KAFKA_USER. Neither program may create a topic. `snapshot` runs as the relay's user.
# The relay's producer is idempotent: before Kafka 3.0 that also needs the operation IdempotentWrite on the cluster.
set -eu

for topic in course-analytics.tallies course-analytics.tallies.rejected; do
    kafka-topics.sh --bootstrap-server "$BOOTSTRAP" --command-config "$ADMIN" --create --if-not-exists --topic "$topic" \
        --partitions 12 --replication-factor 3 \
        --config min.insync.replicas=2 --config cleanup.policy=delete --config retention.ms=604800000
done

allow() {
    kafka-acls.sh --bootstrap-server "$BOOTSTRAP" --command-config "$ADMIN" --add "$@"
}

allow --allow-principal User:analytics-relay --operation Write --operation Describe --topic course-analytics.tallies
allow --allow-principal User:analytics-warehouse --operation Read --operation Describe --topic course-analytics.tallies
allow --allow-principal User:analytics-warehouse --operation Read --group course-analytics.warehouse
allow --allow-principal User:analytics-warehouse --operation Write --operation Describe --topic course-analytics.tallies.rejected
