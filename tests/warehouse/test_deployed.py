"""The files for operators say what the programs do: topics, groups, rights, tables."""

import re
from pathlib import Path

import pytest

from tests.deploy.guarded import DEPLOY
from warehouse import kafka
from warehouse.settings import RelaySettings
from warehouse.store import STATEMENTS, Store

SETUP = (DEPLOY / "kafka" / "setup.sh").read_text()
CLUSTER, USERS = (DEPLOY / "clickhouse" / name for name in ("cluster.sql", "users.sql"))


def statements(path: Path) -> list[str]:
    return [each for each in re.sub(r"--.*", "", path.read_text()).split(";") if each.strip()]


def test_the_topics_that_are_made_are_those_of_the_programs_and_keep_seven_days() -> None:
    (line,) = re.findall(r"^for topic in (.*); do$", SETUP, re.MULTILINE)
    assert [kafka.TOPIC, kafka.REJECTED_TOPIC] == line.split()
    assert {"min.insync.replicas=2", "cleanup.policy=delete", f"retention.ms={7 * 24 * 3_600_000}"} == set(
        re.findall(r"--config (\S+)", SETUP)
    )


def test_the_rights_in_kafka_are_those_that_the_programs_use() -> None:
    given = {
        (user, frozenset(re.findall(r"--operation (\w+)", rest)), *re.findall(r"--(topic|group) (\S+)", rest)[0])
        for user, rest in re.findall(r"^allow --allow-principal User:(\S+) (.*)$", SETUP, re.MULTILINE)
    }
    assert {
        ("analytics-relay", frozenset({"Write", "Describe"}), "topic", kafka.TOPIC),
        ("analytics-warehouse", frozenset({"Read", "Describe"}), "topic", kafka.TOPIC),
        ("analytics-warehouse", frozenset({"Read"}), "group", kafka.GROUP),
        ("analytics-warehouse", frozenset({"Write", "Describe"}), "topic", kafka.REJECTED_TOPIC),
    } == given


@pytest.mark.parametrize("path", [CLUSTER, USERS], ids=lambda path: path.name)
async def test_the_engine_understands_every_statement(store: Store, path: Path) -> None:
    for statement in statements(path):
        assert await store.query(f"EXPLAIN AST {statement}")


def test_the_tables_of_a_cluster_have_the_columns_and_keys_of_the_others() -> None:
    def shape(text: str) -> list[str]:
        return re.findall(r"^ +\w+ \S.*$|^(?:PARTITION|ORDER) BY .*$", text.replace(",", ""), re.MULTILINE)

    alone = [re.sub(r"--.*", "", each) for each in STATEMENTS]
    local, _, progress = statements(CLUSTER)
    assert [shape(each) for each in alone if each.strip()] == [shape(local), shape(progress)]


def test_a_user_of_kafka_comes_by_sasl_over_tls_and_nobody_else_does() -> None:
    brokers = {"kafka_brokers": "one:9092,two:9092"}
    assert {"bootstrap.servers": "one:9092,two:9092"} == RelaySettings.model_validate(brokers).kafka()

    known = RelaySettings.model_validate({**brokers, "kafka_user": "analytics-relay", "kafka_password": "p"})

    assert ("SASL_SSL", "SCRAM-SHA-512", "analytics-relay", "p") == tuple(
        known.kafka()[f"{name}"] for name in ("security.protocol", "sasl.mechanism", "sasl.username", "sasl.password")
    )


def test_no_password_of_a_store_is_logged() -> None:
    shown = RelaySettings.model_validate(
        {
            "kafka_brokers": "one:9092",
            "kafka_user": "analytics-relay",
            "kafka_password": "hidden",
            "clickhouse_url": "https://warehouse:hidden@clickhouse:8443/analytics",
        }
    ).redacted()

    assert "hidden" not in str(shown)
