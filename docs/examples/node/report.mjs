// npm install && node report.mjs ADDRESS LEARNER_TOKEN INSTRUCTOR_TOKEN COURSE LECTURE
import {randomUUID} from "node:crypto";
import {call, clients, stream} from "./client.mjs";

const [address, learner, instructor, courseId, lectureId] = process.argv.slice(2);
const {ingest, dashboard} = clients(address);
const ping = () => ({telemetry: {courseId, lectureId, watchTimeDelta: 5, eventId: randomUUID()}});

const one = await call(ingest, "trackCourseView", {courseId, eventId: randomUUID()}, learner);
const batch = await call(ingest, "trackBatch", {events: [ping(), ping()]}, learner);
const answers = await stream(ingest, [[ping()], [ping(), ping()]], learner);
const {overview} = await call(dashboard, "getCourseDashboard", {courseId}, instructor);

console.log(JSON.stringify({
  one: one.message,
  batch: batch.accepted,
  stream: answers.map(answer => answer.accepted),
  totalViews: overview.totalViews,
  totalWatchTimeSeconds: overview.totalWatchTimeSeconds,
}));
ingest.close();
dashboard.close();
