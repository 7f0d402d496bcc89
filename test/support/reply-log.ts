import type { Part } from '../../src/reply/part.ts';
import type { ReplyObserver } from '../../src/reply/reply-observer.ts';

/** Follows a reply by what observers are told alone, as a far-away reader has to. */
export class Follower {
  readonly log: string[] = [];
  parts: Part[] = [];

  readonly observer: ReplyObserver = {
    partAdded: (part) => {
      this.parts.push(part);
      this.#note('added', part);
    },
    partChanged: (part, { offset, delta, replaced }) => {
      this.parts = this.parts.map((known) => {
        if (known.id !== part.id) return known;
        const before = known.type === 'tool' ? '' : known.text;
        if (offset > before.length) throw new Error('a hole');
        if (replaced !== (offset < before.length || known.type !== part.type))
          throw new Error('replaced lies');
        return { ...part, text: before.slice(0, offset) + delta } as Part;
      });
      this.#note(replaced ? 'replaced' : 'grew', part);
    },
    toolProgressed: (part) => {
      this.parts = this.parts.map((known) => (known.id === part.id ? part : known));
      this.#note('progressed', part);
    },
    partFinalized: (part) => this.#note('finalized', part),
    partsReset: (parts) => {
      this.parts = [...parts];
      this.log.push(`reset to ${parts.length} parts`);
    },
    childPartChanged: ({ callId }, part) => this.#note(`child of ${callId ? 'its task' : 'a task'}:`, part),
    stepFinished: ({ cost, steps }) => this.log.push(`step ${steps} finished, cost ${cost}`),
    sessionRetried: ({ attempt, message }) => this.log.push(`retry ${attempt}: ${message}`),
    sessionErrored: (text) => this.log.push(`session error: ${text}`),
    todosChanged: (todos) => this.log.push(`todos: ${todos.map(({ status }) => status).join(', ')}`),
    questionAsked: ({ questions }) => this.log.push(`asked: ${questions[0]?.question}`),
    questionReplied: () => this.log.push('question answered'),
    questionRejected: () => this.log.push('question rejected'),
    permissionAsked: ({ permission }) => this.log.push(`permission asked: ${permission}`),
    permissionReplied: (_id, reply) => this.log.push(`permission: ${reply}`),
    requestGone: () => this.log.push('prompt gone'),
  };

  /** The log with runs of the same line as one. */
  get lines(): string[] {
    const runs: { line: string; times: number }[] = [];
    for (const line of this.log) {
      const last = runs.at(-1);
      if (last?.line === line) last.times += 1;
      else runs.push({ line, times: 1 });
    }
    return runs.map(({ line, times }) => (times > 1 ? `${line} (${times} times)` : line));
  }

  #note(what: string, part: Part): void {
    const name = part.type === 'tool' ? `${part.tool} ${part.status}` : part.type;
    this.log.push(`${what} ${name}`);
  }
}
