/** What every FileStore owes a message, whatever keeps the bytes. */
import { createHash, randomBytes } from 'node:crypto';
import { beforeAll, describe, expect, it } from '@jest/globals';
import type { NewFile } from '../../src/artifacts/attachment.ts';
import { FileTooLargeError, InvalidInputError, NotFoundError } from '../../src/errors.ts';
import type { FileStore } from '../../src/ports/file-store.ts';
import { deferred } from '../support/deferred.ts';

const kib = 1024;
export const maxFileBytes = 1024 * kib;

export interface FileStoreWorld {
  /** One that takes files of `maxFileBytes`. */
  readonly store: FileStore;
  /** The id of a message without files. */
  newMessage(): string;
  /** What is kept of files that no message has. */
  leftovers(): Promise<{ readonly chunks: number; readonly files: number }>;
}

export const nothing = { chunks: 0, files: 0 };

export const textFile = (content: NewFile['content'], filename = 'a.txt'): NewFile => ({
  filename,
  contentType: 'text/plain',
  content,
});
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

export function fileStoreContract(open: () => Promise<FileStoreWorld>): void {
  let world: FileStoreWorld;
  beforeAll(async () => {
    world = await open();
  });

  async function bytesOf(fileId: string, signal?: AbortSignal): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of world.store.read(fileId, signal)) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  describe('attach', () => {
    it.each([0, 1, 255 * kib - 1, 255 * kib, 255 * kib + 1, 600 * kib, maxFileBytes])(
      'keeps %i bytes as they are, whole or in pieces of any size',
      async (size) => {
        const content = randomBytes(size);
        const messageId = world.newMessage();
        async function* pieces() {
          for (let from = 0; from < size; from += 100_001) yield content.subarray(from, from + 100_001);
        }
        const whole = await world.store.attach(messageId, textFile(content, 'whole'));
        const inPieces = await world.store.attach(messageId, textFile(pieces(), 'pieces'));
        for (const { attached, file } of [whole, inPieces]) {
          expect(attached).toBe(true);
          expect(file).toMatchObject({ bytes: size, sha256: sha256(content), contentType: 'text/plain' });
          expect((await bytesOf(file.fileId)).equals(content)).toBe(true);
        }
        expect(await world.store.list(messageId)).toEqual([inPieces.file, whole.file]);
      },
    );

    it('keeps metadata with any keys, and names that look like operators', async () => {
      const messageId = world.newMessage();
      const metadata = { $set: { 'a.b': 1 }, trusted: true };
      const { file } = await world.store.attach(messageId, {
        ...textFile(Buffer.from('x'), '$where.{"$ne":1}'),
        metadata,
      });
      expect(await world.store.list(messageId)).toEqual([{ ...file, metadata }]);
    });

    it('is idempotent by name: the first content stays', async () => {
      const messageId = world.newMessage();
      const first = await world.store.attach(messageId, textFile(Buffer.from('first')));
      const again = await world.store.attach(messageId, textFile(Buffer.from('again')));
      expect(again).toEqual({ attached: false, file: first.file });
      expect((await world.store.attach(world.newMessage(), textFile(Buffer.from('other')))).attached).toBe(
        true,
      );
      expect(await world.leftovers()).toEqual(nothing);
    });

    it("lets one of two workers through whose uploads are under way at once, and removes the other one's bytes", async () => {
      const messageId = world.newMessage();
      const gates = [deferred<void>(), deferred<void>()];
      const begun = [deferred<void>(), deferred<void>()];
      const uploads = [0, 1].map((n) => {
        async function* content() {
          yield Buffer.alloc(300 * kib, n);
          begun[n]?.resolve();
          await gates[n]?.promise;
          yield Buffer.from('end');
        }
        return world.store.attach(messageId, textFile(content()));
      });
      await Promise.all(begun.map(({ promise }) => promise));
      for (const gate of gates) gate.resolve();
      const [one, two] = await Promise.all(uploads);
      expect([one?.attached, two?.attached].sort()).toEqual([false, true]);
      expect(one?.file).toEqual(two?.file);
      const files = await world.store.list(messageId);
      expect(files).toHaveLength(1);
      expect(sha256(await bytesOf(files[0]?.fileId ?? ''))).toBe(files[0]?.sha256);
      expect(await world.leftovers()).toEqual(nothing);
    });

    it('refuses one byte too many and leaves nothing behind', async () => {
      const messageId = world.newMessage();
      async function* endless() {
        for (;;) yield Buffer.alloc(100 * kib);
      }
      for (const content of [Buffer.alloc(maxFileBytes + 1), endless()])
        await expect(world.store.attach(messageId, textFile(content))).rejects.toEqual(
          new FileTooLargeError('a.txt', maxFileBytes),
        );
      expect(await world.store.list(messageId)).toEqual([]);
      expect(await world.leftovers()).toEqual(nothing);
    });

    it('whose content fails leaves nothing behind and can be tried again', async () => {
      const messageId = world.newMessage();
      const broken = new Error('disk gone');
      async function* content() {
        yield Buffer.alloc(600 * kib);
        throw broken;
      }
      await expect(world.store.attach(messageId, textFile(content()))).rejects.toBe(broken);
      expect(await world.leftovers()).toEqual(nothing);
      expect((await world.store.attach(messageId, textFile(Buffer.from('x')))).attached).toBe(true);
    });

    it('ends with the reason of an abort, also while the content is silent, and leaves nothing behind', async () => {
      const messageId = world.newMessage();
      const controller = new AbortController();
      const silent = deferred<void>();
      const reason = new Error('enough');
      let closed = false;
      async function* content() {
        try {
          yield Buffer.alloc(600 * kib);
          controller.abort(reason);
          await silent.promise;
        } finally {
          closed = true;
        }
      }
      await expect(world.store.attach(messageId, textFile(content()), controller.signal)).rejects.toBe(
        reason,
      );
      expect(await world.leftovers()).toEqual(nothing);
      silent.resolve();
      await new Promise(setImmediate);
      expect(closed).toBe(true);
      await expect(world.store.attach(messageId, textFile(Buffer.from('x')), controller.signal)).rejects.toBe(
        reason,
      );
      expect(await world.store.list(messageId)).toEqual([]);
    });

    it('refuses operators in place of ids and names', async () => {
      const bad = { $ne: null } as never;
      await expect(world.store.attach(bad, textFile(Buffer.from('x')))).rejects.toThrow(InvalidInputError);
      await expect(world.store.attach(world.newMessage(), textFile(Buffer.from('x'), bad))).rejects.toThrow(
        InvalidInputError,
      );
      await expect(world.store.list(bad)).rejects.toThrow(InvalidInputError);
      expect(await world.store.remove(bad)).toBe(false);
      await expect(bytesOf(bad)).rejects.toThrow(NotFoundError);
    });
  });

  describe('stored', () => {
    it('tells of files of all messages that were attached in that time, oldest first', async () => {
      const [one, two] = [world.newMessage(), world.newMessage()];
      const before = Date.now();
      const files = [];
      for (const messageId of [one, two])
        files.push((await world.store.attach(messageId, textFile(Buffer.from('x')))).file);
      const wanted = files.map(({ fileId }, at) => ({ fileId, messageId: [one, two][at] }));
      const all = await world.store.stored({ from: before - 1_000, to: Date.now() + 2_000, limit: 1_000 });
      expect(all.slice(-2)).toEqual(wanted);
      expect(
        await world.store.stored({ from: Date.now() + 2_000, to: Date.now() + 9_000, limit: 10 }),
      ).toEqual([]);
      expect(await world.store.stored({ from: 0, to: Date.now() + 2_000, limit: 1 })).toHaveLength(1);
    });
  });

  describe('remove', () => {
    it('takes the entry and its bytes, once', async () => {
      const messageId = world.newMessage();
      const { file } = await world.store.attach(messageId, textFile(Buffer.alloc(600 * kib)));
      expect(await world.store.remove(world.newMessage())).toBe(false);
      const results = await Promise.all([world.store.remove(file.fileId), world.store.remove(file.fileId)]);
      expect(results.sort()).toEqual([false, true]);
      expect(await world.store.list(messageId)).toEqual([]);
      expect(await world.leftovers()).toEqual(nothing);
      await expect(bytesOf(file.fileId)).rejects.toEqual(new NotFoundError('file', file.fileId));
    });

    it('leaves the file that has taken the name meanwhile', async () => {
      const messageId = world.newMessage();
      const { file: first } = await world.store.attach(messageId, textFile(Buffer.from('first')));
      await world.store.remove(first.fileId);
      const { file: second } = await world.store.attach(messageId, textFile(Buffer.from('second')));
      expect(await world.store.remove(first.fileId)).toBe(false);
      expect(await world.store.list(messageId)).toEqual([second]);
    });
  });

  describe('read', () => {
    it('ends with the reason of an abort', async () => {
      const { file } = await world.store.attach(world.newMessage(), textFile(Buffer.alloc(900 * kib)));
      const controller = new AbortController();
      const reason = new Error('enough');
      const reading = (async () => {
        for await (const _chunk of world.store.read(file.fileId, controller.signal)) controller.abort(reason);
      })();
      await expect(reading).rejects.toBe(reason);
      await expect(bytesOf(file.fileId, controller.signal)).rejects.toBe(reason);
    });

    it('may be left in the middle', async () => {
      const { file } = await world.store.attach(world.newMessage(), textFile(Buffer.alloc(900 * kib, 7)));
      for await (const chunk of world.store.read(file.fileId)) {
        expect(chunk[0]).toBe(7);
        break;
      }
      expect((await bytesOf(file.fileId)).byteLength).toBe(900 * kib);
    });
  });
}
