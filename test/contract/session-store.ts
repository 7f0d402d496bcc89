/** What every SessionStore owes a conversation's session, whatever holds the conversations. */
import { beforeAll, expect, it } from '@jest/globals';
import { ConflictError, InvalidInputError, NotFoundError } from '../../src/errors.ts';
import type { SessionStore } from '../../src/ports/session-store.ts';

export interface SessionStoreWorld {
  readonly store: SessionStore;
  /** A conversation without a session; answers its id. */
  conversation(title: string): Promise<string>;
  unknownId(): string;
}

export function sessionStoreContract(open: () => Promise<SessionStoreWorld>): void {
  let world: SessionStoreWorld;
  let store: SessionStore;
  let count = 0;
  beforeAll(async () => {
    world = await open();
    store = world.store;
  });
  const ref = (more = {}) => {
    count += 1;
    return { sessionId: `ses_contract${count}`, server: 'http://a', rules: 'r1', directory: '/d', ...more };
  };
  const none = { sessionId: null, server: null, rules: null, directory: null };

  it('tells of a conversation that has none, and of its title', async () => {
    expect(await store.session(await world.conversation('Trip'))).toEqual({ ...none, title: 'Trip' });
  });

  it('swaps from what is there only, and tells what it has stored', async () => {
    const id = await world.conversation('x');
    const [first, second] = [ref(), ref()];
    expect(await store.swap(id, 'ses_other', first)).toBe(false);
    expect(await store.swap(id, null, first)).toBe(true);
    expect(await store.swap(id, null, second)).toBe(false);
    expect(await store.session(id)).toEqual({ ...first, title: 'x' });
    expect(await store.swap(id, first.sessionId, second)).toBe(true);
    expect(await store.session(id)).toEqual({ ...second, title: 'x' });
  });

  it('forgets the session that was expected, and no other', async () => {
    const id = await world.conversation('x');
    const session = ref();
    expect(await store.swap(id, null, null)).toBe(true);
    await store.swap(id, null, session);
    expect(await store.swap(id, 'ses_other', null)).toBe(false);
    expect(await store.session(id)).toEqual({ ...session, title: 'x' });
    expect(await store.swap(id, session.sessionId, null)).toBe(true);
    expect(await store.session(id)).toEqual({ ...none, title: 'x' });
    expect(await store.stored([session.sessionId])).toEqual(new Set());
    await expect(store.swap(world.unknownId(), null, null)).rejects.toThrow(NotFoundError);
  });

  it('lets one of twenty that swap at once through', async () => {
    const id = await world.conversation('x');
    const refs = Array.from({ length: 20 }, () => ref());
    const won = await Promise.all(refs.map((each) => store.swap(id, null, each)));
    expect(won.filter(Boolean)).toHaveLength(1);
    expect(await store.session(id)).toMatchObject({ sessionId: refs[won.indexOf(true)]?.sessionId });
  });

  it('gives no session to two conversations', async () => {
    const [one, other] = [await world.conversation('1'), await world.conversation('2')];
    const shared = ref();
    await store.swap(one, null, shared);
    await expect(store.swap(other, null, shared)).rejects.toThrow(ConflictError);
    expect(await store.session(other)).toMatchObject({ sessionId: null });
  });

  it('notes rules against those that were seen, and none where somebody else has changed them', async () => {
    const id = await world.conversation('x');
    const session = ref();
    await store.swap(id, null, session);
    await store.noteRules(id, 'r1', { ...session, rules: 'r2' });
    expect((await store.session(id)).rules).toBe('r2');
    await store.noteRules(id, 'r1', { ...session, rules: 'r3' });
    expect((await store.session(id)).rules).toBeNull();
    await store.noteRules(id, undefined, { ...session, rules: 'r4' });
    expect((await store.session(id)).rules).toBe('r4');
    await store.noteRules(id, 'r4', { ...ref(), rules: 'r5' });
    expect(await store.session(id)).toMatchObject({ sessionId: session.sessionId, rules: 'r4' });
  });

  it('notes the directory of the session that is there, and of no other', async () => {
    const id = await world.conversation('x');
    const session = ref();
    await store.swap(id, null, session);
    await store.noteDirectory(id, { ...session, directory: '/e' });
    await store.noteDirectory(id, { ...ref(), directory: '/f' });
    expect(await store.session(id)).toEqual({ ...session, directory: '/e', title: 'x' });
  });

  it('knows which sessions some conversation holds', async () => {
    const [first, second] = [ref(), ref()];
    const id = await world.conversation('x');
    await store.swap(id, null, first);
    await store.swap(id, first.sessionId, second);
    expect(await store.stored([first.sessionId, second.sessionId])).toEqual(new Set([second.sessionId]));
    expect(await store.stored([])).toEqual(new Set());
  });

  it('refuses conversations that are not there, and operators in place of ids', async () => {
    const id = world.unknownId();
    await expect(store.session(id)).rejects.toEqual(new NotFoundError('conversation', id));
    await expect(store.swap(id, null, ref())).rejects.toEqual(new NotFoundError('conversation', id));
    await expect(store.session({ $ne: null } as never)).rejects.toThrow(InvalidInputError);
    await expect(store.swap({ $ne: null } as never, null, ref())).rejects.toThrow(InvalidInputError);
  });
}
