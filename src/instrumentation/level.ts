import type { Meter } from './meter.ts';

/** How many of something there are now, in this process. */
export class Level {
  #value = 0;

  get value(): number {
    return this.#value;
  }

  /** One more, until the returned function is called; a second call of it changes nothing. */
  enter(): () => void {
    let inside = true;
    this.#value += 1;
    return () => {
      if (inside) this.#value -= 1;
      inside = false;
    };
  }
}

/** What gauges tell of one process, over all its workers. */
export class Levels {
  readonly running = new Level();
  readonly waitingForPeople = new Level();
  readonly followers = new Level();
}

/** Tells them as gauges until the returned function is called. */
export function observeLevels(meter: Meter, levels: Levels): () => void {
  const gauges = {
    'opencode_turns.running': levels.running,
    'opencode_turns.waiting_for_people': levels.waitingForPeople,
    'opencode_turns.followers': levels.followers,
  };
  const ends = (Object.keys(gauges) as (keyof typeof gauges)[]).map((name) =>
    meter.observe(name, async () => [{ value: gauges[name].value }]),
  );
  return () => {
    for (const end of ends) end();
  };
}
