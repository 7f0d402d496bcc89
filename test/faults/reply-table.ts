import type { HttpReply } from '../support/http-reply-proxy.ts';
import { type Doc, errorReply } from '../support/mongo-reply-proxy.ts';

/**
 * What services answer when they cannot, and what those in front of them answer in their place. Each once: whatever
 * it says about the future, the next answer is right again.
 */
export const mongoReplies: Readonly<Record<string, Doc>> = {
  // https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
  ...Object.fromEntries(
    Object.entries({
      HostUnreachable: 6,
      HostNotFound: 7,
      MaxTimeMSExpired: 50,
      NetworkTimeout: 89,
      ShutdownInProgress: 91,
      WriteConflict: 112,
      ReadConcernMajorityNotAvailableYet: 134,
      PrimarySteppedDown: 189,
      NoSuchTransaction: 251,
      ExceededTimeLimit: 262,
      SocketException: 9001,
      NotWritablePrimary: 10107,
      InterruptedAtShutdown: 11600,
      InterruptedDueToReplStateChange: 11602,
      NotPrimaryNoSecondaryOk: 13435,
      NotPrimaryOrSecondary: 13436,
    }).flatMap(([codeName, code]) => [
      [codeName, errorReply(code, 'put in by a test', { codeName })],
      ...['RetryableWriteError', 'TransientTransactionError'].map((label) => [
        `${codeName} ${label}`,
        errorReply(code, 'put in by a test', { codeName, errorLabels: [label] }),
      ]),
    ]),
  ),
  // Engines that only speak MongoDB's protocol know this one code for most that happens to them.
  InternalError: errorReply(1, 'internal error', { codeName: 'InternalError' }),
  'InternalError deadlock': errorReply(1, 'deadlock detected', { codeName: 'InternalError' }),
};

/** https://github.com/redis/redis/blob/7.4/src/server.c, `createSharedObjects`, and those of a cluster. */
export const redisReplies: Readonly<Record<string, string>> = {
  READONLY: "READONLY You can't write against a read only replica.",
  LOADING: 'LOADING Redis is loading the dataset in memory',
  OOM: "OOM command not allowed when used memory > 'maxmemory'.",
  BUSY: 'BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.',
  MASTERDOWN: "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
  NOREPLICAS: 'NOREPLICAS Not enough good replicas to write.',
  MISCONF:
    'MISCONF Redis is configured to save RDB snapshots, but it is currently unable to persist on disk.',
  CLUSTERDOWN: 'CLUSTERDOWN The cluster is down',
  TRYAGAIN: 'TRYAGAIN Multiple keys request during rehashing of slot',
  NOAUTH: 'NOAUTH Authentication required.',
  NOPERM: 'NOPERM User default has no permissions to run this command',
  MOVED: 'MOVED 3999 127.0.0.1:1',
  CROSSSLOT: "CROSSSLOT Keys in request don't hash to the same slot",
};

const text = { 'content-type': 'text/plain; charset=utf-8' };
const html = { 'content-type': 'text/html; charset=utf-8' };
const json = { 'content-type': 'application/json' };
const page = '<!doctype html><html><body>The service is not available.</body></html>';
/** The server's own way to say it: https://opencode.ai/docs/server. */
const own = (status: number, name: string, message: string): HttpReply => ({
  status,
  headers: json,
  body: JSON.stringify({ name, data: { message } }),
});
const refusals = [400, 401, 403, 404, 405, 408, 409, 410, 413, 425, 429];
const failures = [500, 502, 503, 504];

export const httpReplies: Readonly<Record<string, HttpReply>> = {
  ...Object.fromEntries(
    [...refusals, ...failures].flatMap((status): [string, HttpReply][] => [
      [`${status} text`, { status, headers: text, body: 'no' }],
      [`${status} html`, { status, headers: html, body: page }],
    ]),
  ),
  '404 own': own(404, 'NotFoundError', 'Session not found: ses_0'),
  '500 own': own(500, 'UnknownError', 'Unexpected server error. Check server logs for details.'),
  '429 soon': { status: 429, headers: { ...text, 'retry-after': '1' }, body: 'slow down' },
  '503 soon': { status: 503, headers: { ...text, 'retry-after': '1' }, body: 'back soon' },
  '302 sign-in': { status: 302, headers: { location: 'http://127.0.0.1:1/sign-in' } },
  '200 html': { status: 200, headers: html, body: page },
  '200 nothing': { status: 200, headers: json },
  '200 cut': { status: 200, headers: json, body: '[{"info":{"id":"msg_' },
  '200 other': { status: 200, headers: json, body: '{"ok":true}' },
  '200 stream': { status: 200, headers: { 'content-type': 'text/event-stream' }, body: 'data: {"type":' },
};
