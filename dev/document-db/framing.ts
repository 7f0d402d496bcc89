/** MongoDB's wire messages: OP_MSG both ways, and OP_QUERY with OP_REPLY for the driver's first question. */
import { deserialize, serialize } from 'bson';
import type { Doc } from './values.ts';

const opReply = 1;
const opQuery = 2004;
const opMsg = 2013;
const headerBytes = 16;
const maxMessageBytes = 48_000_000 + headerBytes;

export interface Request {
  readonly id: number;
  readonly body: Doc;
  readonly isQuery: boolean;
  /** The client wants no reply; sending one would put all later ones out of step. */
  readonly silent: boolean;
}

/** A message that cannot be read; the connection is closed. */
export class FramingError extends Error {}

/** Cuts a stream of chunks into messages. Copies each byte once, however small the chunks are. */
export class MessageSplitter {
  #chunks: Buffer[] = [];
  #length = 0;
  #wanted = headerBytes;

  /** Throws FramingError for a length that no message has. */
  *push(chunk: Buffer): Generator<Buffer> {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    while (this.#length >= this.#wanted) {
      const all = this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks);
      const size = all.readInt32LE(0);
      if (size < headerBytes || size > maxMessageBytes) throw new FramingError(`a message of ${size} bytes`);
      this.#chunks = [all];
      this.#wanted = size;
      if (all.length < size) return;
      yield all.subarray(0, size);
      this.#chunks = all.length > size ? [all.subarray(size)] : [];
      this.#length = all.length - size;
      this.#wanted = headerBytes;
    }
  }
}

export function readRequest(message: Buffer): Request {
  const id = message.readInt32LE(4);
  const opCode = message.readInt32LE(12);
  try {
    if (opCode === opMsg) return { id, ...readMsg(message) };
    if (opCode === opQuery) return { id, body: readQuery(message), isQuery: true, silent: false };
  } catch (error) {
    throw new FramingError('an unreadable message', { cause: error });
  }
  throw new FramingError(`opcode ${opCode}`);
}

/** Copied before it is read: binary values would otherwise point into the socket's buffer. */
const readBson = (bytes: Buffer): Doc =>
  deserialize(Buffer.from(bytes), { promoteBuffers: false, bsonRegExp: true });

function readMsg(message: Buffer): Omit<Request, 'id'> {
  const flags = message.readUInt32LE(16);
  const end = message.length - (flags & 1 ? 4 : 0);
  let at = 20;
  let body: Doc = {};
  const sequences: Doc = {};
  while (at < end) {
    const kind = message[at];
    const size = message.readInt32LE(at + 1);
    const section = message.subarray(at + 1, at + 1 + size);
    if (size < 5 || section.length !== size) throw new FramingError('a section of the wrong length');
    if (kind === 0) body = readBson(section);
    else if (kind === 1) Object.assign(sequences, readSequence(section));
    else throw new FramingError(`a section of kind ${kind}`);
    at += 1 + size;
  }
  return { body: { ...body, ...sequences }, isQuery: false, silent: (flags & 2) !== 0 };
}

/** A list of documents outside the body, under the name of the field it stands for. */
function readSequence(section: Buffer): Doc {
  const nameEnd = section.indexOf(0, 4);
  const docs: Doc[] = [];
  for (let at = nameEnd + 1; at < section.length; ) {
    const size = section.readInt32LE(at);
    docs.push(readBson(section.subarray(at, at + size)));
    at += size;
  }
  return { [section.toString('utf8', 4, nameEnd)]: docs };
}

function readQuery(message: Buffer): Doc {
  const nameEnd = message.indexOf(0, 20);
  const database = message.toString('utf8', 20, nameEnd).split('.')[0];
  const start = nameEnd + 9;
  const query = readBson(message.subarray(start, start + message.readInt32LE(start)));
  return { ...query, $db: database };
}

export function writeReply(request: Request, reply: Doc): Buffer {
  const body = serialize(reply, { ignoreUndefined: true });
  const head = request.isQuery ? Buffer.alloc(20) : Buffer.alloc(5);
  if (request.isQuery) {
    head.writeInt32LE(8, 0);
    head.writeInt32LE(1, 16);
  }
  const header = Buffer.alloc(headerBytes);
  header.writeInt32LE(headerBytes + head.length + body.length, 0);
  header.writeInt32LE(request.id, 8);
  header.writeInt32LE(request.isQuery ? opReply : opMsg, 12);
  return Buffer.concat([header, head, body]);
}
