// What every browser test starts from: a Tidemill of its own on a free port, and Chromium to look at it with.
// TIDEMILL_BIN names the program, CHROMIUM the browser; `make test-browser` sets both.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PROGRAM = process.env.TIDEMILL_BIN ?? join(ROOT, 'target/debug/tidemill');
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';

// A debug build on a busy machine starts within this, and ends within its own shutdown limits and a little more.
const START_MS = 20_000;
const STOP_MS = 15_000;

// Lets nothing but the page under test use the network, and runs where no sandbox can be made.
const CHROMIUM_ARGUMENTS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];

/** Starts Chromium; the caller closes it. */
export function openBrowser() {
  return chromium.launch({ executablePath: CHROMIUM, headless: true, args: CHROMIUM_ARGUMENTS });
}

/**
 * Starts `tidemill standalone` in a directory of its own and waits until it is ready.
 * `environment` overrides configuration, e.g. `{ TIDEMILL_EXECUTOR_SERVICE__WORKERS_LIMIT: '2' }`.
 * A `port` and `directory` of an earlier one start it again where that left off.
 */
export async function startTidemill({ form = 'html_ws', environment = {}, port, directory } = {}) {
  port ??= await freePort();
  directory ??= await mkdtemp(join(tmpdir(), 'tidemill-browser-'));
  const program = spawn(resolve(PROGRAM), ['standalone', '--form', form], {
    cwd: directory,
    env: { ...unconfigured(), TIDEMILL_APP__HOST: '127.0.0.1', TIDEMILL_APP__PORT: String(port), ...environment },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const log = [];
  program.stderr.on('data', (chunk) => log.push(chunk));
  const ended = once(program, 'exit');
  const url = `http://127.0.0.1:${port}`;
  await ready(url, program, () => Buffer.concat(log).toString());
  return {
    url, port, directory,
    log: () => Buffer.concat(log).toString(),
    /** Ends it with SIGTERM, or the signal given, and keeps its directory. */
    async stop(signal = 'SIGTERM') {
      program.kill(signal);
      const timer = setTimeout(() => program.kill('SIGKILL'), STOP_MS);
      await ended;
      clearTimeout(timer);
    },
    /** Ends it and removes its directory. */
    async remove() {
      await this.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** This process's environment without what would configure the program. */
function unconfigured() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('TIDEMILL_')));
}

async function ready(url, program, log) {
  const deadline = Date.now() + START_MS;
  for (;;) {
    if (program.exitCode !== null) throw new Error(`tidemill ended with code ${program.exitCode}:\n${log()}`);
    try {
      if ((await fetch(`${url}/readyz`)).ok) return;
    } catch {
      // Not listening yet.
    }
    if (Date.now() > deadline) {
      program.kill('SIGKILL');
      throw new Error(`tidemill was not ready within ${START_MS} ms:\n${log()}`);
    }
    await new Promise((wake) => setTimeout(wake, 50));
  }
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}
