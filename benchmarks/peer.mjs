// graphile-worker with the settings that its documentation names for throughput (batching of completions, a local queue),
// a hundred jobs at once and a pool of twenty connections. One job is one request and one upsert.
import { Logger, run, runMigrations } from "graphile-worker";
import { Pool } from "undici";

const connectionString = process.env.BENCH_DSN;
const google = new Pool(process.env.BENCH_STUB, { connections: 100, pipelining: 1 });
const logger = new Logger(() => (level, message) => { if (level === "error") console.error(message); });
const headers = { authorization: `Bearer ${"x".repeat(150)}`, "content-type": "application/json" };
const upsert = {
  name: "binding",
  text: `insert into bench_bindings (workspace_id, source_type, source_id, google_event_id) values ($1, $2, $3, $4)
    on conflict (workspace_id, source_type, source_id) do update set google_event_id = excluded.google_event_id`,
};

async function syncItem(job, helpers) {
  const id = job.source_id.replaceAll("-", "");
  const body = JSON.stringify({ id, ...job.event });
  const answer = await google.request({ method: "POST", path: "/calendar/v3/calendars/primary/events", headers, body });
  const event = await answer.body.json();
  if (answer.statusCode !== 200) throw new Error(`HTTP ${answer.statusCode}`);
  const values = [job.workspace_id, job.source_type, job.source_id, event.id];
  await helpers.withPgClient((client) => client.query({ ...upsert, values }));
}

await runMigrations({ connectionString, logger });
await run({
  preset: {
    worker: {
      connectionString,
      concurrentJobs: 100,
      maxPoolSize: 20,
      localQueue: { size: 500 },
      completeJobBatchDelay: 0,
      failJobBatchDelay: 0,
      logger,
    },
  },
  taskList: { sync_item: syncItem },
});
console.log("READY");
