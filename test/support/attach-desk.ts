import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import mongoose from 'mongoose';
import type { Attachments } from '../../src/artifacts/attachment.ts';
import {
  type AttachInput,
  MessageArtifacts,
  type MessageArtifactsOptions,
} from '../../src/artifacts/message-artifacts.ts';
import { Sandbox } from '../../src/artifacts/sandbox.ts';
import { GridFsFileStore } from '../../src/mongodb/file-store.ts';
import { startDatabase } from './database.ts';
import { exchangeOf, type ToolCall } from './tool-calls.ts';

/** What was modified before is not of this turn. */
export const cutoff = Date.now() - 60_000;

/** A sandbox on disk and a message in GridFS, both new for each test. */
export class AttachDesk {
  readonly store: GridFsFileStore;
  readonly box: string;
  readonly messageId = String(new mongoose.Types.ObjectId());
  readonly reports: { error: unknown; action: string }[] = [];
  readonly message: Attachments;

  private constructor(store: GridFsFileStore, box: string) {
    this.store = store;
    this.box = box;
    this.message = {
      attach: (file, signal) => store.attach(this.messageId, file, signal),
      list: () => store.list(this.messageId),
      remove: (fileId) => store.remove(fileId),
    };
  }

  /** Answers what makes a desk, and what ends the database behind all of them. */
  static async prepare() {
    const database = await startDatabase();
    const store = new GridFsFileStore(database.connection, { maxFileBytes: 1024 * 1024 });
    await store.ensureIndexes();
    const open = async () =>
      new AttachDesk(store, await mkdtemp(path.join(tmpdir(), 'opencode-turns-artifacts-')));
    return { open, stop: () => database.stop() };
  }

  close(): Promise<void> {
    return rm(this.box, { recursive: true, force: true });
  }

  lay(name: string, content: string | Buffer): Promise<void> {
    return writeFile(path.join(this.box, name), content);
  }

  attach(
    calls: readonly ToolCall[],
    options: Partial<MessageArtifactsOptions> = {},
    input: Partial<AttachInput> = {},
  ) {
    const artifacts = new MessageArtifacts({
      message: this.message,
      reporter: { report: (error, { action }) => this.reports.push({ error, action }) },
      ...options,
    });
    const defaults = {
      exchange: exchangeOf(...calls),
      sandbox: new Sandbox(this.box),
      cutoff,
      readUpstream: async () => null,
    };
    return artifacts.attachFrom({ ...defaults, ...input }, AbortSignal.timeout(20_000));
  }

  /** The attached files' texts by name. */
  async held(): Promise<Record<string, string>> {
    const files = await this.store.list(this.messageId);
    const entries = files.map(async ({ filename, fileId }) => [filename, await this.#text(fileId)]);
    return Object.fromEntries(await Promise.all(entries));
  }

  async #text(fileId: string): Promise<string> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of this.store.read(fileId)) chunks.push(chunk);
    return Buffer.concat(chunks).toString();
  }
}
