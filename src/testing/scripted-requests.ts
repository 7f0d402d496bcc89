import type { WireEvent, WirePermission, WireQuestion } from '../reply/wire.ts';

export type PermissionReply = { readonly reply: 'once' | 'always' | 'reject'; readonly message?: string };

interface Open<Request, Answer> {
  readonly request: Request;
  readonly resolve: (answer: Answer) => void;
}

/** What the agents of one server have asked people, until it is answered or its run is over. */
export class ScriptedRequests {
  readonly #questions = new Map<string, Open<WireQuestion, readonly (readonly string[])[] | null>>();
  readonly #permissions = new Map<string, Open<WirePermission, PermissionReply>>();
  readonly #emit: (event: WireEvent) => void;

  constructor(emit: (event: WireEvent) => void) {
    this.#emit = emit;
  }

  get questions(): readonly WireQuestion[] {
    return [...this.#questions.values()].map(({ request }) => request);
  }

  get permissions(): readonly WirePermission[] {
    return [...this.#permissions.values()].map(({ request }) => request);
  }

  /** Null when it was rejected. */
  ask(request: WireQuestion): Promise<readonly (readonly string[])[] | null> {
    return new Promise((resolve) => {
      this.#questions.set(request.id, { request, resolve });
      this.#emit({ type: 'question.asked', properties: { ...request } });
    });
  }

  askPermission(request: WirePermission): Promise<PermissionReply> {
    return new Promise((resolve) => {
      this.#permissions.set(request.id, { request, resolve });
      this.#emit({ type: 'permission.asked', properties: { ...request } });
    });
  }

  /** False when it is not open, or not any more. */
  answerQuestion(id: string, answers: readonly (readonly string[])[] | null): boolean {
    const open = this.#questions.get(id);
    if (!open) return false;
    this.#questions.delete(id);
    const properties = { sessionID: open.request.sessionID, requestID: id };
    if (answers) this.#emit({ type: 'question.replied', properties: { ...properties, answers } });
    else this.#emit({ type: 'question.rejected', properties });
    open.resolve(answers);
    return true;
  }

  answerPermission(id: string, reply: PermissionReply): boolean {
    const open = this.#permissions.get(id);
    if (!open) return false;
    this.#permissions.delete(id);
    const properties = { sessionID: open.request.sessionID, requestID: id, reply: reply.reply };
    this.#emit({ type: 'permission.replied', properties });
    open.resolve(reply);
    return true;
  }

  /** The run of a session is over: nobody waits for an answer any more. */
  forget(sessionId: string): void {
    for (const open of [this.#questions, this.#permissions])
      for (const [id, { request }] of open) if (request.sessionID === sessionId) open.delete(id);
  }
}
