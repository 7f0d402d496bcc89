import type { StreamBatch } from '../ports/turn-stream.ts';

/** Bytes of entries. */
const ofOne = 256 * 1024;
const ofAll = 64 * 1024 * 1024;
/** Also when there is nothing left: every reader gets on. */
const least = 16 * 1024;
const count = 500;

let taken = 0;

/**
 * What a reader may hold of a stream that he has not asked for yet: 256 KiB, and of all readers of this process 64 MiB;
 * once that is taken, 16 KiB each. One entry that is larger comes beside it: without it he would stand still.
 */
export class ReaderShare {
  #mine = 0;

  /** How much may be read now. What was read before is over. */
  take(): StreamBatch {
    this.release();
    this.#mine = Math.max(least, Math.min(ofOne, ofAll - taken));
    taken += this.#mine;
    return { count, bytes: this.#mine };
  }

  /** So much it was. */
  keep(bytes: number): void {
    taken += bytes - this.#mine;
    this.#mine = bytes;
  }

  /** He holds nothing any more. */
  release(): void {
    this.keep(0);
  }
}
