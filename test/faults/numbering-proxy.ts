import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

export const services = ['redis', 'mongo', 'opencode'] as const;
export type ServiceName = (typeof services)[number];
export type Moment = 'before' | 'after';

/** One chunk on its way between the worker and a service. */
export interface Point {
  readonly number: number;
  readonly service: ServiceName;
  readonly way: 'request' | 'answer';
  /** What it says, as far as its first bytes tell. */
  readonly what: string;
}

export interface Trap {
  readonly number: number;
  readonly moment: Moment;
  /** Ends the worker; nothing passes any more from the moment on that this is called. */
  readonly spring: () => Promise<void>;
}

/**
 * A proxy in front of the three services of one worker that numbers every chunk of either direction in the order
 * of its coming, from `arm` on. At the trap's number the wire goes dead: just before the chunk passes, or just
 * after it has. What the dead worker's sockets had sent until then still arrives, as after a real kill.
 */
export class NumberingProxy {
  readonly urls: Record<ServiceName, string>;
  readonly #servers: readonly Server[];
  readonly #sockets: Set<Socket>;
  #points: Point[] = [];
  #state: 'idle' | 'counting' | 'dead' = 'idle';
  #trap: Trap | undefined;
  #sprung: Promise<void> | undefined;

  static async start(targets: Readonly<Record<ServiceName, string>>): Promise<NumberingProxy> {
    const sockets = new Set<Socket>();
    const servers = services.map(() => createServer());
    for (const server of servers) {
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
    }
    return new NumberingProxy(targets, servers, sockets);
  }

  private constructor(
    targets: Readonly<Record<ServiceName, string>>,
    servers: readonly Server[],
    sockets: Set<Socket>,
  ) {
    this.#servers = servers;
    this.#sockets = sockets;
    const urls = services.map((service, at) => {
      const server = servers[at] as Server;
      server.on('connection', (client) => this.#join(service, client, targets[service]));
      return [service, targets[service].replace(/127\.0\.0\.1:\d+/, `127.0.0.1:${portOf(server)}`)];
    });
    this.urls = Object.fromEntries(urls) as Record<ServiceName, string>;
  }

  /** Every chunk since `arm`. */
  get points(): readonly Point[] {
    return this.#points;
  }

  get sprung(): boolean {
    return this.#sprung !== undefined;
  }

  /** Counts from 1 again. */
  arm(trap?: Trap): void {
    this.#points = [];
    this.#trap = trap;
    this.#sprung = undefined;
    this.#state = 'counting';
  }

  /** Lets everything pass uncounted. */
  disarm(): void {
    this.#state = 'idle';
    this.#trap = undefined;
  }

  /** Resolves once the trap's `spring` has. */
  async whenSprung(): Promise<void> {
    await this.#sprung;
  }

  async stop(): Promise<void> {
    for (const server of this.#servers) server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #join(service: ServiceName, client: Socket, target: string): void {
    const { hostname, port } = new URL(target);
    const upstream = connect(Number(port), hostname);
    this.#wire(service, 'request', client, upstream);
    this.#wire(service, 'answer', upstream, client);
  }

  #wire(service: ServiceName, way: Point['way'], from: Socket, to: Socket): void {
    this.#sockets.add(from);
    from.setNoDelay(true);
    from.on('error', () => to.destroy());
    from.on('close', () => {
      this.#sockets.delete(from);
      to.end();
    });
    from.on('end', () => to.end());
    from.on('data', (bytes) => this.#pass(service, way, bytes, to));
  }

  #pass(service: ServiceName, way: Point['way'], bytes: Buffer, to: Socket): void {
    if (this.#state === 'dead') return;
    if (this.#state === 'idle') {
      to.write(bytes);
      return;
    }
    const number = this.#points.length + 1;
    this.#points.push({ number, service, way, what: labels[service](bytes, way) });
    const trap = this.#trap?.number === number ? this.#trap : undefined;
    if (trap?.moment === 'before') this.#spring(trap);
    else to.write(bytes, () => trap && this.#spring(trap));
    // The chunk may pass a moment before its callback comes: nothing may slip through behind it.
    if (trap) this.#state = 'dead';
  }

  #spring(trap: Trap): void {
    this.#state = 'dead';
    this.#sprung = trap.spring();
  }
}

const portOf = (server: Server) => (server.address() as AddressInfo).port;

const labels: Record<ServiceName, (bytes: Buffer, way: Point['way']) => string> = {
  redis: (bytes, way) => (way === 'answer' ? 'answer' : words(bytes.toString('latin1'))),
  // Behind the header (16), flags (4), kind (1), length (4) and type (1) stands the name of the first field.
  mongo: (bytes) => bytes.toString('latin1', 26, 46).split('\0', 1)[0] || 'more',
  opencode: (bytes, way) =>
    way === 'request'
      ? firstLine(bytes)
      : (/"type":"([\w.]+)"/.exec(bytes.toString())?.[1] ?? firstLine(bytes)),
};

/** The first commands of a pipeline, without their arguments. */
function words(commands: string): string {
  const names = [...commands.matchAll(/\*\d+\r\n\$\d+\r\n([a-zA-Z]+)\r\n/g)].map(([, name]) =>
    name?.toLowerCase(),
  );
  return names.slice(0, 3).join(' ') || 'bytes';
}

const firstLine = (bytes: Buffer) =>
  (bytes.toString('latin1', 0, 120).split('\r\n', 1)[0] ?? '')
    .replace(/[?].*/, '')
    .replace(/(ses|msg|prt)_\w+/g, '$1')
    .replace(/[^\x20-\x7e]/g, '.')
    .slice(0, 50);
