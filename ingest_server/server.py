"""Wires the ingest server: creates every dependency and passes it on."""

import asyncio
import secrets
from contextlib import AsyncExitStack

from course_analytics.v1 import ingest_pb2

from ingest_server.admission import MAX_BATCH_BYTES, Admission
from ingest_server.allowance import Allowance
from ingest_server.catalog import Catalog
from ingest_server.committer import Committer
from ingest_server.identity import user_key
from ingest_server.linger import Linger
from ingest_server.recorder import Recorder
from ingest_server.refusals import Refusals
from ingest_server.servicer import IngestServicer
from ingest_server.today import Today
from shared.identity.auth import TokenVerifier
from shared.serving import lifecycle, methods, tls
from shared.settings import ServerSettings
from shared.stores import day_zone, mongo

SERVICE = ingest_pb2.DESCRIPTOR.services_by_name["IngestService"]


async def serve(settings: ServerSettings, shared_port: bool) -> None:  # noqa: FBT001 - as workers.Serve calls it
    """Runs the server until a signal.

    Raises CannotRun when it cannot listen, when Redis is unsuitable, and when the days of this installation have
    another zone.
    """
    stop = lifecycle.stop_on_signal()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(mongo.connect(settings.mongo_url, program="ingest"))
        process = secrets.token_hex(6)
        recorder = await stack.enter_async_context(
            Recorder(settings.redis_url, settings.flush_barrier, process, cluster=settings.redis_cluster)
        )
        linger = Linger(settings.commit_linger_ms / 1000)
        today = Today(settings.day_zone)
        committer = Committer(recorder.record, linger.seconds, settings.watch_credit_seconds, today)
        hash_key = settings.user_hash_key.get_secret_value() if settings.user_hash_key else None

        verifier = TokenVerifier.of(settings)

        server, health = await lifecycle.grpc_server(
            settings.ingest_address,
            [SERVICE.full_name],
            shared_port=shared_port,
            credentials=tls.server_credentials(settings),
            max_message_bytes=MAX_BATCH_BYTES,
        )
        stack.push_async_callback(server.stop, None)
        catalog = Catalog(mongo.database(client))
        refusals = Refusals(catalog, committer)
        admission = Admission(Allowance())
        servicer = IngestServicer(admission, user_key(hash_key), catalog, committer, refusals, stop=stop)
        calls = methods.add(SERVICE, servicer, server, verifier, admission.check)
        readiness = lifecycle.Readiness(health, SERVICE.full_name)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(committer.run())
            refusing = tasks.create_task(refusals.run())
            renewing = tasks.create_task(verifier.follow_keys())
            tasks.create_task(day_zone.compare(mongo.database(client), settings.day_zone, stop))
            following = tasks.create_task(follow_redis(recorder, committer, verifier, readiness))
            await lifecycle.serve_until(stop, server, readiness, calls)
            following.cancel()
            renewing.cancel()
            refusing.cancel()
            committer.close()


async def follow_redis(
    recorder: Recorder, committer: Committer, verifier: TokenVerifier, readiness: lifecycle.Readiness
) -> None:
    """Opens the server for events at the first contact with Redis, and updates its readiness from then on."""
    await readiness.until_first_contact(redis=recorder.probe)
    committer.open()
    await readiness.follow(redis=recorder.probe, keys=verifier.check_keys)
