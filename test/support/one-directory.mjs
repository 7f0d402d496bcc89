/** The policies of a test's worker process whose conversations share one directory: upstream starts each one anew, which takes seconds. */
export default {
  default: {
    model: 'scripted/scripted',
    directory: () => process.env.TEST_DIRECTORY,
    // As many as a server is killed in the middle of one turn.
    ...(process.env.TEST_MAX_RERUNS ? { limits: { maxReruns: Number(process.env.TEST_MAX_RERUNS) } } : {}),
  },
};
