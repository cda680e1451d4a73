// BullMQ in the words of the benchmark (benches/README.md): commands on standard input, JSON lines on standard output.
//
//   node peer.mjs redis://HOST:PORT
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';

const QUEUE = 'bench';
const PAYLOAD = { p: 'x'.repeat(92) }; // 100 bytes of JSON
const url = new URL(process.argv[2]);
const connection = { host: url.hostname, port: Number(url.port) };

const queue = new Queue(QUEUE, { connection, defaultJobOptions: { removeOnComplete: true } });
const client = new Redis({ ...connection, lazyConnect: true }); // for bare round trips
let ids = 0;
let handled = 0;
let first = 0n;
let last = 0n;

const tell = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
const now = () => process.hrtime.bigint(); // the machine's monotonic clock
const options = () => ({ jobId: `task-${String(ids++).padStart(15, '0')}` });
const enqueue = () => queue.add('nothing', PAYLOAD, options());
const enqueueBatch = (count) =>
  queue.addBulk(Array.from({ length: count }, () => ({ name: 'nothing', data: PAYLOAD, opts: options() })));

/** Seconds that `calls` calls take of which so many are under way at a time. */
async function repeat(callers, calls, call) {
  let next = 0;
  const caller = async () => {
    while (next < calls) await call(next++);
  };
  const began = now();
  await Promise.all(Array.from({ length: callers }, caller));
  return { seconds: Number(now() - began) / 1e9 };
}

function work(slots, tells) {
  const handler = async () => {
    last = now();
    if (handled++ === 0) first = last;
    if (tells) tell({ started: Number(last) });
  };
  const worker = new Worker(QUEUE, handler, { connection, concurrency: slots });
  worker.on('error', (error) => process.stderr.write(`${error}\n`));
  return {};
}

async function hello() {
  await queue.waitUntilReady();
  const { version } = createRequire(import.meta.url)('bullmq/package.json');
  return { version: `bullmq ${version}, node ${process.versions.node}` };
}

const commands = {
  hello,
  bulk: (count, batch, flights) =>
    repeat(flights, Math.ceil(count / batch), (call) => enqueueBatch(Math.min(batch, count - call * batch))),
  callers: (callers, count) => repeat(callers, count, enqueue),
  ping: async (count) => {
    await client.ping();
    return repeat(1, count, () => client.ping());
  },
  send: async () => {
    const at = Number(now());
    await enqueue();
    return { at };
  },
  work: (slots, tells) => work(slots, tells === 'tell'),
  handled: () => ({ handled, first: Number(first), last: Number(last) }),
};

for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...words] = line.trim().split(/\s+/);
  const values = words.map((word) => (/^\d+$/.test(word) ? Number(word) : word));
  try {
    if (!commands[name]) throw new Error(`there is no command '${name}'`);
    tell(await commands[name](...values));
  } catch (error) {
    tell({ error: String(error) });
  }
}
process.exit(0);
