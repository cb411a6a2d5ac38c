// The clients of both services, from the protos: field names are those of JSON (camelCase).
import {fileURLToPath} from "node:url";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const here = fileURLToPath(new URL(".", import.meta.url));
// A copy of `protos/` of this repository, and Google's three files that the protos import.
const includeDirs = [process.env.PROTOS ?? `${here}../../../protos`, here];
const files = ["ingest", "dashboard"].map(name => `course_analytics/v1/${name}.proto`);
const definition = protoLoader.loadSync(files, {includeDirs, defaults: true, enums: String});
const {IngestService, DashboardService} = grpc.loadPackageDefinition(definition).course_analytics.v1;

/** The clients of a server or gateway, host:port. */
export function clients(address) {
  const credentials = grpc.credentials.createInsecure(); // in production createSsl()
  return {ingest: new IngestService(address, credentials), dashboard: new DashboardService(address, credentials)};
}

/** What goes with every call. */
export function authorized(token) {
  const metadata = new grpc.Metadata();
  metadata.set("authorization", `Bearer ${token}`);
  return metadata;
}

/** The answer of a unary call, such as `call(ingest, "trackTelemetry", ping, token)`. */
export function call(client, method, request, token, seconds = 3) {
  return new Promise((resolve, reject) => {
    const options = {deadline: Date.now() + 1000 * seconds};
    client[method](request, authorized(token), options, (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

// Safe to try again with the same event ids.
const PASSING = new Set([grpc.status.UNAVAILABLE, grpc.status.DEADLINE_EXCEEDED, grpc.status.RESOURCE_EXHAUSTED]);

/**
 * Sends batches over one stream and returns their answers, in order. A stream may end at any time: what has no answer may
 * have been counted or not, and is sent again with the same event ids over a new one.
 */
export async function stream(ingest, batches, token, {retrySeconds = 1} = {}) {
  const answers = [];
  while (answers.length < batches.length) {
    const error = await sendRest(ingest, batches, token, answers);
    if (error === null) continue;
    if (!PASSING.has(error.code)) throw error;
    await new Promise(resolve => setTimeout(resolve, 1000 * retrySeconds));
  }
  return answers;
}

/** Adds to `answers` what one stream answers; resolves with the error that ended it, or null. */
function sendRest(ingest, batches, token, answers) {
  return new Promise(resolve => {
    const call = ingest.trackStream(authorized(token));
    call.on("data", answer => answers.push(answer));
    call.on("error", resolve);
    call.on("end", () => resolve(null));
    for (const events of batches.slice(answers.length)) call.write({events});
    call.end();
  });
}
