# syntax=docker/dockerfile:1
# One image for the programs; the command says which: analytics-ingest, analytics-query, analytics-flusher, analytics-warehouse.
# Checked by hadolint, and by tests that install the wheel in the same way; it has not been built by a Docker engine.

FROM python:3.13-slim-trixie AS build
WORKDIR /build
COPY requirements.lock ./
# Every download has the hash that the lock names: pip checks it for uv, and uv for the rest.
RUN sed -n '/^uv==/,/# via/p' requirements.lock > uv.txt \
    && pip install --no-cache-dir --no-deps --require-hashes -r uv.txt \
    && uv venv --no-cache tools \
    && uv pip install --no-cache --no-build --python tools/bin/python --constraint requirements.lock hatchling
COPY pyproject.toml README.md LICENSE ./
COPY protos protos
COPY shared shared
COPY ingest_server ingest_server
COPY query_server query_server
COPY flusher flusher
COPY warehouse warehouse
# "[warehouse]" adds the clients of Kafka and ClickHouse, for analytics-warehouse.
ARG EXTRA=""
RUN tools/bin/python -m hatchling build -t wheel \
    && uv venv --no-cache --python /usr/local/bin/python /opt/analytics \
    && uv pip install --no-cache --no-build --compile-bytecode --python /opt/analytics/bin/python \
        --constraint requirements.lock --constraint warehouse/requirements.lock "$(ls dist/*.whl)$EXTRA"

FROM python:3.13-slim-trixie
COPY --from=build /opt/analytics /opt/analytics
ENV PATH=/opt/analytics/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1
# A number, so that Kubernetes can see that it is not root. It owns nothing: the programs write no files.
USER 10001:10001
EXPOSE 50051 50052 50053 9101 9102 9103 9104 9105
# Which port to ask depends on the program: compose.yaml and the manifests of Kubernetes know it.
HEALTHCHECK NONE
CMD ["analytics-ingest"]
