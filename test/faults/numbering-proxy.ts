import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { chunkLabels, type ServiceName, services, type Way } from './chunk-labels.ts';

export type Moment = 'before' | 'after';

/** One chunk on its way between the worker and a service. */
export interface Point {
  readonly number: number;
  readonly service: ServiceName;
  readonly way: Way;
  /** What it says, as far as its first bytes tell. */
  readonly what: string;
}

export interface Trap {
  readonly number: number;
  readonly moment: Moment;
  /** Services to which nothing passes any more from the moment on that `spring` is called. */
  readonly takes: (point: Point) => readonly ServiceName[];
  readonly spring: (point: Point) => Promise<void>;
}

/**
 * A proxy in front of the three services of one worker that numbers every chunk of either direction in the order
 * of its coming, from `arm` on. At the trap's number wires go dead: just before the chunk passes, or just after it
 * has. What had been sent until then still arrives, as after a real kill.
 */
export class NumberingProxy {
  readonly urls: Record<ServiceName, string>;
  readonly #servers: readonly Server[];
  readonly #sockets = new Map<Socket, ServiceName>();
  readonly #dead = new Set<ServiceName>();
  #refusing = false;
  #points: Point[] = [];
  #counting = false;
  #trap: Trap | undefined;
  #sprung: Promise<void> | undefined;

  static async start(targets: Readonly<Record<ServiceName, string>>): Promise<NumberingProxy> {
    const servers = services.map(() => createServer());
    for (const server of servers) {
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
    }
    return new NumberingProxy(targets, servers);
  }

  private constructor(targets: Readonly<Record<ServiceName, string>>, servers: readonly Server[]) {
    this.#servers = servers;
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
  arm(trap: Trap): void {
    this.#points = [];
    this.#trap = trap;
    this.#sprung = undefined;
    this.#counting = true;
  }

  /** Lets everything pass uncounted. */
  disarm(): void {
    this.#counting = false;
    this.#trap = undefined;
    this.restore();
  }

  /** Resolves once the trap's `spring` has. */
  async whenSprung(): Promise<void> {
    await this.#sprung;
  }

  /** Resets the connections to what the trap has taken, and refuses new ones, until it is restored. */
  cut(): void {
    this.#refusing = true;
    for (const [socket, service] of this.#sockets) if (this.#dead.has(service)) socket.resetAndDestroy();
  }

  /** Everything passes again. */
  restore(): void {
    this.#refusing = false;
    this.#dead.clear();
  }

  async stop(): Promise<void> {
    for (const server of this.#servers) server.close();
    for (const socket of this.#sockets.keys()) socket.destroy();
  }

  #join(service: ServiceName, client: Socket, target: string): void {
    if (this.#refusing && this.#dead.has(service)) {
      client.resetAndDestroy();
      return;
    }
    const { hostname, port } = new URL(target);
    const upstream = connect(Number(port), hostname);
    this.#wire(service, 'request', client, upstream);
    this.#wire(service, 'answer', upstream, client);
  }

  #wire(service: ServiceName, way: Way, from: Socket, to: Socket): void {
    this.#sockets.set(from, service);
    from.setNoDelay(true);
    from.on('error', () => to.destroy());
    from.on('close', () => {
      this.#sockets.delete(from);
      to.end();
    });
    from.on('end', () => to.end());
    from.on('data', (bytes) => this.#pass(service, way, bytes, to));
  }

  #pass(service: ServiceName, way: Way, bytes: Buffer, to: Socket): void {
    if (this.#dead.has(service)) return;
    if (!this.#counting) {
      to.write(bytes);
      return;
    }
    const point = { number: this.#points.length + 1, service, way, what: chunkLabels[service](bytes, way) };
    this.#points.push(point);
    const trap = this.#trap?.number === point.number ? this.#trap : undefined;
    const spring = () => {
      this.#sprung = trap?.spring(point);
    };
    // The chunk may pass a moment before its callback comes: nothing may slip through behind it.
    for (const taken of trap?.takes(point) ?? []) this.#dead.add(taken);
    if (trap?.moment === 'before') spring();
    else to.write(bytes, trap && spring);
  }
}

const portOf = (server: Server) => (server.address() as AddressInfo).port;
