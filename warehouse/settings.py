"""The settings of the warehouse, beside those that it shares with the other programs."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator

from shared.settings import Address, List, ServerSettings, Settings
from warehouse.record import MAX_GENERATION


class WarehouseSettings(Settings):
    """The settings common to all commands of the warehouse."""

    warehouse_address: Address = "127.0.0.1:50053"
    warehouse_metrics_address: Address | None = None
    kafka_brokers: List = ()
    kafka_user: str | None = None
    kafka_password: SecretStr | None = None
    clickhouse_url: str | None = None
    warehouse_dir: Path | None = None
    warehouse_generation: Annotated[int, Field(ge=0, le=MAX_GENERATION)] = 0

    @model_validator(mode="after")
    def _one_store(self) -> Self:
        if self.clickhouse_url is not None and self.warehouse_dir is not None:
            raise ValueError("ANALYTICS_CLICKHOUSE_URL and ANALYTICS_WAREHOUSE_DIR exclude each other")
        return self

    @model_validator(mode="after")
    def _whole_credentials(self) -> Self:
        if (self.kafka_user is None) != (self.kafka_password is None):
            raise ValueError("ANALYTICS_KAFKA_USER and ANALYTICS_KAFKA_PASSWORD belong together")
        return self

    def kafka(self) -> dict[str, str]:
        """The connection settings for librdkafka: with a user SASL over TLS, otherwise plain text."""
        where = {"bootstrap.servers": ",".join(self.kafka_brokers)}
        if self.kafka_user is None or self.kafka_password is None:
            return where
        return {
            **where,
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": self.kafka_user,
            "sasl.password": self.kafka_password.get_secret_value(),
        }


class StoreSettings(WarehouseSettings):
    """The settings of a command that reads or writes the store."""

    @model_validator(mode="after")
    def _some_store(self) -> Self:
        if self.clickhouse_url is None and self.warehouse_dir is None:
            raise ValueError("ANALYTICS_CLICKHOUSE_URL or ANALYTICS_WAREHOUSE_DIR is needed: where the rows are kept")
        return self


class PlatformSettings(StoreSettings, ServerSettings):
    """The settings of the server: a store, and the keys that verify tokens."""


class RelaySettings(WarehouseSettings):
    """The settings of the relay."""

    @model_validator(mode="after")
    def _some_broker(self) -> Self:
        if not self.kafka_brokers:
            raise ValueError("ANALYTICS_KAFKA_BROKERS is needed: without Kafka `python -m warehouse` needs no relay")
        return self


class SnapshotSettings(WarehouseSettings):
    """The settings of a snapshot: where its records go."""

    @model_validator(mode="after")
    def _some_target(self) -> Self:
        if not (self.kafka_brokers or self.clickhouse_url or self.warehouse_dir):
            raise ValueError(
                "ANALYTICS_KAFKA_BROKERS, ANALYTICS_CLICKHOUSE_URL or ANALYTICS_WAREHOUSE_DIR is needed: "
                "where the records go"
            )
        return self
