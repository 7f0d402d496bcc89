import { expect, it } from '@jest/globals';
import { metrics } from '../../src/instrumentation/metrics.ts';
import { safeMeter } from '../../src/instrumentation/safe-meter.ts';
import { MemoryMeter } from '../support/memory-meter.ts';

function safe() {
  const inner = new MemoryMeter();
  const told: string[] = [];
  return { inner, told, meter: safeMeter(inner, { report: (_error, { action }) => told.push(action) }) };
}

it('no metric has an id or a text beside it', () => {
  const names = Object.values(metrics).flatMap(({ attributes }) => [...attributes] as string[]);
  expect([...new Set(names)].sort()).toEqual([
    'db.system.name',
    'error.type',
    'gen_ai.agent.name',
    'gen_ai.operation.name',
    'gen_ai.provider.name',
    'gen_ai.request.model',
    'job.state',
    'messaging.destination.name',
    'server.address',
    'server.port',
    'turn.policy',
    'turn.reason',
    'turn.status',
  ]);
});

it('attributes of other rows do not leave, and long ones are cut', () => {
  const { meter, inner } = safe();
  const given = {
    'turn.policy': 'p'.repeat(500),
    'turn.id': 'x',
    text: 'of a user',
    'turn.status': undefined,
  };
  meter.add('opencode_turns.finished', 1, given);
  expect(inner.measured).toEqual([
    { name: 'opencode_turns.finished', value: 1, attributes: { 'turn.policy': 'p'.repeat(100) } },
  ]);
});

it('an attribute has a hundred values at most, over all metrics', () => {
  const { meter, inner } = safe();
  for (let at = 0; at < 500; at += 1)
    meter.add(at % 2 ? 'opencode_turns.reruns' : 'opencode_turns.resends', 1, { 'turn.policy': `p${at}` });
  meter.add('opencode_turns.reruns', 1, { 'turn.policy': 'p0' });
  const values = inner.measured.map(({ attributes }) => attributes['turn.policy']);
  expect(new Set(values).size).toBe(101);
  expect(values.at(-2)).toBe('_OTHER');
  expect(values.at(-1)).toBe('p0');
});

it('what is no figure is not told', async () => {
  const { meter, inner } = safe();
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, -1]) {
    meter.add('opencode_turns.cost', value);
    meter.measure('opencode_turns.queue.wait', value);
  }
  meter.observe('opencode_turns.running', async () => [{ value: Number.NaN }, { value: 2 }]);
  expect(inner.measured).toEqual([]);
  expect(await inner.read('opencode_turns.running')).toEqual([{ value: 2, attributes: {} }]);
});

it('a gauge that cannot be read has no value, and that is told', async () => {
  const { meter, inner, told } = safe();
  const end = meter.observe('opencode_turns.running', async () => {
    throw new Error('away');
  });
  expect(await inner.read('opencode_turns.running')).toEqual([]);
  expect(told).toEqual(['meter.read']);
  end();
  expect(inner.gauges).toEqual([]);
});
