import fc from 'fast-check';

/** Imported for its effect: the same cases in every run, so that a red one is the change's doing. FUZZ_SEED tries others. */
fc.configureGlobal({ seed: Number(process.env.FUZZ_SEED ?? 1) });
