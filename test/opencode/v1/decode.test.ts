import { describe, expect, it } from '@jest/globals';
import { decodeEvent, sessionOf } from '../../../src/opencode/v1/decode.ts';
import { recordings, sseBytes } from '../../support/recordings.ts';

const events = recordings.flatMap((one) => one.events);
/** What the server also sends and a reply has no use for. */
const housekeeping =
  /^(plugin|catalog|integration|reference|file|lsp|vcs|project|installation|mcp|command|ide|pty|worktree|workspace|models-dev)\.|^session\.diff$/;

describe('decoding', () => {
  it('knows every recorded event but for housekeeping', () => {
    const unknown = events.filter((event) => decodeEvent(event).type === 'unknown').map(({ type }) => type);
    expect([...new Set(unknown)].filter((type) => !housekeeping.test(type))).toEqual([]);
  });

  it.each([
    ['an unknown type', { type: 'session.exploded', properties: {} }],
    ['a name from the prototype', { type: 'constructor', properties: {} }],
    ['no properties', { type: 'session.idle' }],
    ['a missing field', { type: 'session.idle', properties: {} }],
    [
      'a field of another type',
      {
        type: 'message.part.delta',
        properties: { sessionID: 's', messageID: 'm', partID: 'p', field: 'text', delta: 7 },
      },
    ],
    [
      'a role that is none',
      { type: 'message.updated', properties: { info: { id: 'm', sessionID: 's', role: 'x', time: {} } } },
    ],
    [
      'a status that is none',
      { type: 'session.status', properties: { sessionID: 's', status: { type: 'retry' } } },
    ],
    ['an id that is no text', { id: 7, type: 'server.connected', properties: {} }],
    ['a text', 'event'],
    ['nothing', undefined],
  ])('%s is data', (_what, raw) => {
    expect(decodeEvent(raw)).toEqual({ type: 'unknown', raw });
  });

  it('copies nothing', () => {
    const event = { id: 'evt_1', type: 'session.idle', properties: { sessionID: 's' } };
    expect(decodeEvent(event)).toBe(event);
  });
});

describe('the session of an event', () => {
  it.each([
    ['by its own field', { type: 'session.idle', properties: { sessionID: 's' } }, 's'],
    ['by its part', { type: 'message.part.updated', properties: { part: { sessionID: 's' } } }, 's'],
    ['by its message', { type: 'message.updated', properties: { info: { id: 'm', sessionID: 's' } } }, 's'],
    ['by being one', { type: 'session.created', properties: { info: { id: 's' } } }, 's'],
    ['none', { type: 'server.heartbeat', properties: {} }, undefined],
  ])('%s', (_how, event, expected) => {
    expect(sessionOf(event)).toBe(expected);
  });
});

it('recordings can be fed as the server sends them', () => {
  for (const one of recordings) {
    const frames = new TextDecoder().decode(sseBytes(one)).split('\n\n').slice(0, -1);
    expect(frames.map((frame) => JSON.parse(frame.slice('data: '.length)))).toEqual(one.events);
  }
});
