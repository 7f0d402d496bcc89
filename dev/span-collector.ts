import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';

export interface CollectedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly name: string;
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly failed: boolean;
}

interface OtlpBody {
  readonly resourceSpans?: readonly {
    readonly scopeSpans?: readonly {
      readonly spans?: readonly {
        traceId: string;
        spanId: string;
        parentSpanId?: string;
        name: string;
        startTimeUnixNano: string;
        endTimeUnixNano: string;
        status?: { code?: number };
      }[];
    }[];
  }[];
}

const maxSpans = 20_000;
const errorStatus = 2;

/** An OTLP/http receiver on loopback that keeps the newest spans; for looking at one trace without a backend. */
export async function startSpanCollector(): Promise<{
  url: string;
  trace(traceId: string): CollectedSpan[];
  stop(): Promise<void>;
}> {
  const spans: CollectedSpan[] = [];
  const server = createServer((request, response) => {
    json(request)
      .then((body) => {
        if (request.url === '/v1/traces') spans.push(...parse(body as OtlpBody));
        if (spans.length > maxSpans) spans.splice(0, spans.length - maxSpans);
      })
      .catch(() => undefined)
      .finally(() => response.setHeader('content-type', 'application/json').end('{}'));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    trace: (traceId) => spans.filter((span) => span.traceId === traceId),
    stop: async () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

function parse({ resourceSpans = [] }: OtlpBody): CollectedSpan[] {
  const all = resourceSpans.flatMap(({ scopeSpans = [] }) => scopeSpans.flatMap(({ spans = [] }) => spans));
  return all.map(
    ({ traceId, spanId, parentSpanId = '', name, startTimeUnixNano, endTimeUnixNano, status }) => ({
      traceId,
      spanId,
      parentSpanId,
      name,
      startNs: BigInt(startTimeUnixNano),
      endNs: BigInt(endTimeUnixNano),
      failed: status?.code === errorStatus,
    }),
  );
}

/**
 * A trace as an indented tree with milliseconds. Children that share a name are folded into one line with
 * their number; a span whose parent is unknown stands at the top.
 */
export function renderSpanTree(spans: readonly CollectedSpan[], maxDepth = 4): string[] {
  const ids = new Set(spans.map(({ spanId }) => spanId));
  const children = (parent: string) => spans.filter((span) => span.parentSpanId === parent);
  const roots = spans.filter(({ parentSpanId }) => !ids.has(parentSpanId));
  const lines: string[] = [];
  const draw = (level: readonly CollectedSpan[], depth: number) => {
    if (depth > maxDepth) return;
    const names = [...new Set([...level].sort(byStart).map(({ name }) => name))];
    for (const name of names) {
      const group = level.filter((span) => span.name === name);
      const ms = group.reduce((sum, { startNs, endNs }) => sum + Number(endNs - startNs) / 1e6, 0);
      const times = group.length > 1 ? ` ×${group.length}` : '';
      lines.push(
        `${'  '.repeat(depth)}${name}${times}  ${ms.toFixed(1)} ms${group.some(({ failed }) => failed) ? '  failed' : ''}`,
      );
      draw(
        group.flatMap(({ spanId }) => children(spanId)),
        depth + 1,
      );
    }
  };
  draw(roots, 0);
  return lines;
}

const byStart = (a: CollectedSpan, b: CollectedSpan) => Number(a.startNs - b.startNs);
