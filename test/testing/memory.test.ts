import { describe } from '@jest/globals';
import { MemoryConversations } from '../../src/testing/memory-conversations.ts';
import { MemoryFileStore } from '../../src/testing/memory-file-store.ts';
import { memoryIds } from '../../src/testing/memory-ids.ts';
import { MemoryJobs } from '../../src/testing/memory-jobs.ts';
import { MemoryLeases, MemoryLock } from '../../src/testing/memory-lock.ts';
import { MemoryNotifier } from '../../src/testing/memory-notifier.ts';
import { MemoryStopStore } from '../../src/testing/memory-stop-store.ts';
import { MemoryStream, type Stream } from '../../src/testing/memory-stream.ts';
import { MemoryTurnLists } from '../../src/testing/memory-turn-lists.ts';
import { MemoryTurnQueue } from '../../src/testing/memory-turn-queue.ts';
import { MemoryTurnStore } from '../../src/testing/memory-turn-store.ts';
import { MemoryTurns } from '../../src/testing/memory-turns.ts';
import { systemClock as clock } from '../../src/timing/clock.ts';
import { fileStoreContract, maxFileBytes, nothing } from '../contract/file-store.ts';
import { lockContract } from '../contract/lock.ts';
import { notifierContract } from '../contract/notifier.ts';
import { sessionStoreContract } from '../contract/session-store.ts';
import { stopStoreContract } from '../contract/stop-store.ts';
import { turnJobsContract } from '../contract/turn-jobs.ts';
import { turnListsContract } from '../contract/turn-lists.ts';
import { turnQueueContract } from '../contract/turn-queue.ts';
import { turnStoreContract } from '../contract/turn-store.ts';
import { turnStreamContract } from '../contract/turn-stream.ts';

const newId = memoryIds(clock);
const turnsAndStops = async () => {
  const [turns, conversations] = [new MemoryTurns(), new MemoryConversations()];
  const conversation = async (title = 'Trip') => {
    const id = newId();
    conversations.add(id, { title });
    return id;
  };
  return {
    store: new MemoryTurnStore({ turns, conversations, clock }),
    queue: new MemoryTurnQueue(turns, conversations, clock),
    stops: new MemoryStopStore(turns, clock),
    lists: new MemoryTurnLists(turns, conversations),
    conversations,
    conversation: () => conversation(),
    named: conversation,
    remove: async (id: string) => conversations.remove(id),
    unknownId: newId,
  };
};

describe('turns in memory', () => turnStoreContract(turnsAndStops));
describe('lists in memory', () => turnListsContract(turnsAndStops));
describe('queues in memory', () => turnQueueContract(turnsAndStops));
describe('open stops in memory', () => stopStoreContract(turnsAndStops));
describe('sessions in memory', () =>
  sessionStoreContract(async () => {
    const { conversations, named, unknownId } = await turnsAndStops();
    return { store: conversations, conversation: named, unknownId };
  }));
describe('files in memory', () =>
  fileStoreContract(async () => ({
    store: new MemoryFileStore(clock, maxFileBytes),
    newMessage: newId,
    leftovers: async () => nothing,
  })));
describe('a stream in memory', () =>
  turnStreamContract(async () => {
    const notifier = new MemoryNotifier();
    const streams = new Map<string, Stream>();
    return {
      stream: (bounds) => new MemoryStream({ clock, notifier, streams, ...bounds }),
      notifier,
      newTurn: newId,
    };
  }));
describe('a lock in memory', () =>
  lockContract(async () => {
    const leases = new MemoryLeases();
    return { lock: ({ waitMs = 60_000 } = {}) => new MemoryLock(clock, waitMs, leases), newKey: newId };
  }));
describe('a notifier in memory', () =>
  notifierContract(async () => ({ notifier: new MemoryNotifier(), newTurn: newId })));
describe('jobs in memory', () =>
  turnJobsContract(async () => {
    const jobs = new MemoryJobs(clock);
    return {
      jobs,
      newTurn: () => ({ id: newId(), conversationId: newId(), policy: 'default' }),
      state: async (turnId) => jobs.state(turnId),
      end: async (turnId, how) => {
        const job = jobs.take();
        if (job?.turnId !== turnId) throw new Error(`took the job of ${job?.turnId}`);
        job.end(how);
      },
    };
  }));
