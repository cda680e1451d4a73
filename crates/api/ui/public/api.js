// Talking to the server over HTTP: deadlines, problem+json, the bearer token.

// The server answers within about two seconds even when its store is away; ten say that it isn't there.
const REQUEST_TIMEOUT_MS = 10_000;
// A large batch takes a moment to be read and stored.
const SUBMIT_TIMEOUT_MS = 60_000;
const TOKEN_KEY = 'tidemill.token';

let askForToken = async () => null;
let asking = null;
let declined = false;

/** Something was refused or didn't arrive. `message` is for people; `errors` names fields by JSON Pointer. */
export class ApiError extends Error {
  constructor(message, { status = 0, title = '', errors = [], retryAfter = null } = {}) {
    super(message);
    this.status = status;
    this.title = title;
    this.errors = errors;
    this.retryAfter = retryAfter;
  }

  /** The server (or what is between) didn't answer at all. */
  get unreachable() {
    return this.status === 0;
  }
}

/** Who asks the reader for a token: `async (wasRefused) → token or null`. */
export function onUnauthorized(ask) {
  askForToken = ask;
}

/** The reader, having declined before, wants to be asked again. */
export function askAgain() {
  declined = false;
}

/** The token of this tab, if there is one. */
export function token() {
  try {
    return sessionStorage.getItem(TOKEN_KEY);
  } catch {
    return null;
  }
}

function keepToken(value) {
  try {
    sessionStorage.setItem(TOKEN_KEY, value);
  } catch {
    // Without storage the dialog comes again; nothing else is lost.
  }
}

/** The address of a path below the page, `https:` or `wss:` alike. */
export function address(path, query = {}) {
  const url = new URL(path, document.baseURI.split(/[?#]/)[0]);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== '') url.searchParams.set(name, value);
  }
  return url;
}

async function request(method, path, { query, body, timeout = REQUEST_TIMEOUT_MS } = {}) {
  for (;;) {
    const sent = token();
    const response = await exchange(method, address(path, query), body, timeout, sent);
    if (response.status !== 401) return read(response);
    // Another request may have brought one meanwhile.
    if (token() !== sent) continue;
    // Who said no is not asked again by every reading, only by what they do.
    if (declined && method === 'GET') return read(response);
    asking ??= askForToken(sent !== null).finally(() => { asking = null; });
    const given = await asking;
    declined = !given;
    if (!given) return read(response);
    keepToken(given);
  }
}

async function exchange(method, url, body, timeout, bearer) {
  const headers = { Accept: 'application/json' };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (bearer) headers.Authorization = `Bearer ${bearer}`;
  try {
    return await fetch(url, { method, headers, body, cache: 'no-store', signal: AbortSignal.timeout(timeout) });
  } catch (error) {
    const why = error.name === 'TimeoutError' ? `did not answer within ${timeout / 1000} s` : 'does not answer';
    throw new ApiError(`Tidemill at ${url.host} ${why}. See that it runs and that the network reaches it.`);
  }
}

async function read(response) {
  const text = await response.text().catch(() => '');
  let content = null;
  try {
    content = text ? JSON.parse(text) : null;
  } catch {
    // Not JSON: something between us and the server spoke. The status has to do.
  }
  if (response.ok) return content;
  throw new ApiError(content?.detail ?? content?.title ?? unexplained(response), {
    status: response.status,
    title: content?.title ?? '',
    errors: Array.isArray(content?.errors) ? content.errors : [],
    retryAfter: Number(response.headers.get('Retry-After')) || null,
  });
}

function unexplained(response) {
  return `The server answered ${response.status} ${response.statusText} without saying why. Its log will tell more.`;
}

const queuePath = (queue) => `api/v1/queues/${encodeURIComponent(queue)}`;
const taskPath = (queue, id) => `${queuePath(queue)}/tasks/${encodeURIComponent(id)}`;

/** Everything the page asks of the server. */
export const api = {
  info: () => request('GET', 'api/v1/info'),
  queues: () => request('GET', 'api/v1/queues'),
  queue: (queue) => request('GET', queuePath(queue)),
  workers: (queue) => request('GET', `${queuePath(queue)}/workers`),
  tasks: (queue, query) => request('GET', `${queuePath(queue)}/tasks`, { query }),
  task: (queue, id) => request('GET', taskPath(queue, id)),
  cancel: (queue, id) => request('POST', `${taskPath(queue, id)}/cancel`),
  retry: (queue, id) => request('POST', `${taskPath(queue, id)}/retry`),
  remove: (queue, id) => request('DELETE', taskPath(queue, id)),
  pause: (queue) => request('POST', `${queuePath(queue)}/pause`),
  resume: (queue) => request('POST', `${queuePath(queue)}/resume`),
  /** `body` is JSON as text: an object would lose the order of its members. */
  schedule: (queue, body) => request('POST', 'schedule', { query: { queue }, body, timeout: SUBMIT_TIMEOUT_MS }),
  enqueue: (queue, body) => request('POST', 'enqueue', { query: { queue }, body, timeout: SUBMIT_TIMEOUT_MS }),
};

/** The subprotocols that carry the token, since a browser's WebSocket takes no headers. */
export function socketProtocols() {
  const bearer = token();
  if (!bearer) return [];
  const bytes = new TextEncoder().encode(bearer);
  const base64 = btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
  return ['tidemill', `bearer.${base64}`];
}
